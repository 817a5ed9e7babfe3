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
    """Answers whether a pod of a node uses an object. Follows the pods when asked; an unchanged pod costs nothing."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._version: int | None = None
        self._pods: dict[str, tuple[Object, str, tuple[Reference, ...]]] = {}
        self._uses: Counter[tuple[str, Reference]] = Counter()

    def uses(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Tell whether a pod bound to `node` refers to the object, itself or (a secret) through its volumes."""
        self._refresh()
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

    def _refresh(self) -> None:
        version = self._reader.version(PODS)
        if version == self._version:
            return
        gone = dict(self._pods)
        for pod in self._reader.list(PODS):
            key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            known = gone.pop(key, None)
            if known is None or known[0] is not pod:
                self._forget(known)
                self._learn(key, pod)
        for key, known in gone.items():
            self._forget(known)
            del self._pods[key]
        self._version = version

    def _learn(self, key: str, pod: Object) -> None:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        mirror = MIRROR in (pod["metadata"].get("annotations") or {})
        references = tuple(set(pod_references(pod))) if node and not mirror else ()
        self._pods[key] = (pod, node, references)
        self._uses.update((node, reference) for reference in references)

    def _forget(self, known: tuple[Object, str, tuple[Reference, ...]] | None) -> None:
        if known is None:
            return
        _, node, references = known
        for reference in references:
            self._uses[node, reference] -= 1
            if not self._uses[node, reference]:
                del self._uses[node, reference]


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
