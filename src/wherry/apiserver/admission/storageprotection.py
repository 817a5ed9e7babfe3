"""StorageObjectInUseProtection and PersistentVolumeClaimResize."""

from wherry.api import quantity
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES, VOLUMEATTRIBUTESCLASSES
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_FINALIZERS = {
    PERSISTENTVOLUMECLAIMS.plural: "kubernetes.io/pvc-protection",
    PERSISTENTVOLUMES.plural: "kubernetes.io/pv-protection",
    VOLUMEATTRIBUTESCLASSES.plural: "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(Plugin):
    """New claims, volumes and classes of volume attributes get the finalizer that keeps them in use."""

    name = "StorageObjectInUseProtection"
    resources = (
        PERSISTENTVOLUMECLAIMS,
        PERSISTENTVOLUMES,
        VOLUMEATTRIBUTESCLASSES,
    )
    operations = frozenset({CREATE})

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def admit(self, operation: Operation) -> None:
        if operation.obj is None:
            return
        meta, finalizer = operation.obj["metadata"], _FINALIZERS[operation.resource.plural]
        if finalizer not in (meta.get("finalizers") or ()):
            meta["finalizers"] = [*(meta.get("finalizers") or ()), finalizer]


class PersistentVolumeClaimResize(Plugin):
    """A claim grows only where it is bound and its storage class allows it."""

    name = "PersistentVolumeClaimResize"
    resources = (PERSISTENTVOLUMECLAIMS,)
    operations = frozenset({UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def validate(self, operation: Operation) -> None:
        claim, old = operation.obj, operation.old
        if claim is None or old is None or not _grows(claim, old):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise forbidden(operation.resource, operation.name, "only bound persistent volume claims can be expanded")
        name = claim["spec"].get("storageClassName")
        found = self._reader.get(STORAGECLASSES, None, name) if name else None
        if found is None or not found.get("allowVolumeExpansion"):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )
            raise forbidden(operation.resource, operation.name, why)


def _grows(claim: dict[str, object], old: dict[str, object]) -> bool:
    return _requested(claim) > _requested(old)


def _requested(claim: dict[str, object]) -> quantity.Quantity:
    spec = claim.get("spec")
    resources = spec.get("resources") if isinstance(spec, dict) else None
    return quantity.parse(((resources or {}).get("requests") or {}).get("storage", "0"))
