"""Which objects the pods of a node refer to (kube-apiserver's node authorizer graph, as one index over the pods)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from wherry.apiserver.attributes import Reader

Object = dict[str, Any]
Reference = tuple[str, str, str]
"""Resource, namespace and name."""

MIRROR = "kubernetes.io/config.mirror"


class PodGraph:
    """Answers whether a pod of a node uses an object. Follows the pods from the first question on."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._following = False
        self._pods: dict[str, tuple[str, tuple[Reference, ...]]] = {}
        self._uses: Counter[tuple[str, Reference]] = Counter()

    def uses(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Tell whether a pod bound to `node` refers to the object, itself or (a secret) through its volumes."""
        if not self._following:
            self._following = True
            self._reader.follow(PODS, self._changed)
        if (node, (resource, namespace, name)) in self._uses:
            return True
        return resource == "secrets" and self._in_volume(node, namespace, name)

    def _in_volume(self, node: str, namespace: str, name: str) -> bool:
        for used_by, (resource, space, claim) in list(self._uses):
            if used_by == node and resource == "persistentvolumeclaims":
                found = self._reader.get(PERSISTENTVOLUMECLAIMS, space, claim) or {}
                volume = (found.get("spec") or {}).get("volumeName")
                if volume and ("secrets", namespace, name) in _volume_secrets(
                    self._reader.get(PERSISTENTVOLUMES, None, volume) or {}, space
                ):
                    return True
        return False

    def _changed(self, key: str, pod: Object | None) -> None:
        node, references = _uses_of(pod) if pod is not None else ("", ())
        known = self._pods.get(key)
        if known == (node, references):
            return
        if known is not None:
            self._forget(*self._pods.pop(key))
        if references:
            self._pods[key] = (node, references)
            self._uses.update((node, reference) for reference in references)

    def _forget(self, node: str, references: tuple[Reference, ...]) -> None:
        for reference in references:
            self._uses[node, reference] -= 1
            if not self._uses[node, reference]:
                del self._uses[node, reference]


def _uses_of(pod: Object) -> tuple[str, tuple[Reference, ...]]:
    """Return a pod's node and what it refers to; nothing while it has none, and of a mirror pod, which nodes make."""
    node = (pod.get("spec") or {}).get("nodeName") or ""
    if not node or MIRROR in (pod["metadata"].get("annotations") or {}):
        return "", ()
    return node, tuple(sorted(set(pod_references(pod))))


def pod_references(pod: Object) -> Iterator[Reference]:
    """Yield the secrets, config maps, claims, service account and resource claims that a pod names."""
    namespace, spec = pod["metadata"]["namespace"], pod["spec"]
    yield "serviceaccounts", namespace, spec.get("serviceAccountName") or "default"
    for resource, name in _names(pod, spec):
        if name:
            yield resource, namespace, name


def _names(pod: Object, spec: Object) -> Iterator[tuple[str, str]]:
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", secret.get("name", "")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            yield from _container_names(container)
    for volume in spec.get("volumes") or ():
        yield from _volume_names(pod["metadata"]["name"], volume)
    statuses = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    for claim in (*(spec.get("resourceClaims") or ()), *statuses):
        yield "resourceclaims", claim.get("resourceClaimName") or ""


def _container_names(container: Object) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        yield "secrets", (source.get("secretRef") or {}).get("name", "")
        yield "configmaps", (source.get("configMapRef") or {}).get("name", "")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield "secrets", (source.get("secretKeyRef") or {}).get("name", "")
        yield "configmaps", (source.get("configMapKeyRef") or {}).get("name", "")


def _volume_names(pod: str, volume: Object) -> Iterator[tuple[str, str]]:
    yield "configmaps", (volume.get("configMap") or {}).get("name", "")
    yield "secrets", (volume.get("secret") or {}).get("secretName", "")
    yield "persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
    if "ephemeral" in volume:
        yield "persistentvolumeclaims", f"{pod}-{volume['name']}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield "configmaps", (source.get("configMap") or {}).get("name", "")
        yield "secrets", (source.get("secret") or {}).get("name", "")
    yield from (("secrets", name) for name, _ in _driver_secrets(volume))


_SECRET_MEMBERS = (
    "secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef",
)  # fmt: skip
_DRIVERS = ("azureFile", "cephfs", "cinder", "csi", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")


def _driver_secrets(source: Object) -> Iterable[tuple[str, str]]:
    """Yield (name, namespace or empty) of the secrets that the kubelet needs for a volume of a storage driver."""
    for driver in _DRIVERS:
        given = source.get(driver) or {}
        if given.get("secretName"):
            yield given["secretName"], given.get("secretNamespace") or ""
        for member in _SECRET_MEMBERS:
            reference = given.get(member) or {}
            if reference.get("name"):
                yield reference["name"], reference.get("namespace") or ""


def _volume_secrets(volume: Object, namespace: str) -> set[Reference]:
    found = _driver_secrets(volume.get("spec") or {})
    return {("secrets", given or namespace, name) for name, given in found}
