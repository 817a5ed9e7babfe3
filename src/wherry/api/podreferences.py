"""Which kinds of objects a pod refers to: pods made by kubelets may refer to none."""

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]


def references(spec: Object) -> Iterator[str]:
    """Yield of secrets, configmaps, clustertrustbundles and persistentvolumeclaims those that a pod refers to."""
    volumes = spec.get("volumes") or ()
    projected = [source for v in volumes for source in (v.get("projected") or {}).get("sources") or ()]
    used = [*volumes, *projected, *_environment(spec)]
    if spec.get("imagePullSecrets") or any(s.get(m) for s in used for m in ("secret", "secretRef", "secretKeyRef")):
        yield "secrets"
    if any(s.get(m) for s in used for m in ("configMap", "configMapRef", "configMapKeyRef")):
        yield "configmaps"
    if any(source.get("clusterTrustBundle") for source in projected):
        yield "clustertrustbundles"
    if any(volume.get("persistentVolumeClaim") for volume in volumes):
        yield "persistentvolumeclaims"


def _environment(spec: Object) -> Iterator[Object]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            yield from container.get("envFrom") or ()
            for variable in container.get("env") or ():
                yield variable.get("valueFrom") or {}
