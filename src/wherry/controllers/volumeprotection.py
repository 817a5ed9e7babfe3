"""Protection of volumes and claims in use.

Watches claims, volumes, pods and classes of volume attributes. Writes the finalizers ``kubernetes.io/pvc-protection``,
``kubernetes.io/pv-protection`` and ``kubernetes.io/vac-protection``. Guarantees that a claim which is being deleted
stays while a pod that has not finished uses it, a volume while it is bound, and a class while a claim or volume names
it.
"""

from collections.abc import Iterable

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import (
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    VOLUMEATTRIBUTESCLASSES,
    Resource,
)
from wherry.controllers import pods as podutil
from wherry.controllers.controller import Controller

_CLAIM = "claim"
_CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
_VOLUME_FINALIZER = "kubernetes.io/pv-protection"
_CLASS = "volume-attributes-class"
_CLASS_FINALIZER = "kubernetes.io/vac-protection"


def claims_of(pod: Object) -> Iterable[str]:
    """Return the keys of the claims that a pod uses, those of its ephemeral volumes too."""
    keys = []
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            keys.append(f"{meta.namespace(pod)}/{volume['persistentVolumeClaim']['claimName']}")
        elif volume.get("ephemeral"):
            keys.append(f"{meta.namespace(pod)}/{meta.name(pod)}-{volume['name']}")
    return keys


def plan(obj: Object, finalizer: str, *, in_use: bool) -> list[str] | None:
    """Return the finalizers that the object must have, None when it has them."""
    present = obj["metadata"].get("finalizers") or []
    if not meta.is_deleting(obj):
        return None if finalizer in present else [*present, finalizer]
    if in_use or finalizer not in present:
        return None
    return [name for name in present if name != finalizer]


class ClaimProtectionController(Controller):
    name = "pvc-protection-controller"

    def register(self) -> None:
        self._claims = self.watch(PERSISTENTVOLUMECLAIMS)
        self._pods = self.watch(PODS, claims_of, changed=_ended)
        self._pods.add_index(_CLAIM, claims_of)

    async def reconcile(self, key: str) -> float | None:
        found = self._claims.lister.get(key)
        if found is not None:
            in_use = any(not podutil.is_finished(pod) for pod in self._pods.lister.by_index(_CLAIM, key))
            await _write(self, PERSISTENTVOLUMECLAIMS, found, plan(found, _CLAIM_FINALIZER, in_use=in_use))
        return None


class VolumeProtectionController(Controller):
    name = "pv-protection-controller"

    def register(self) -> None:
        self._volumes = self.watch(PERSISTENTVOLUMES)

    async def reconcile(self, key: str) -> float | None:
        found = self._volumes.lister.get(key)
        if found is not None:
            in_use = (found.get("status") or {}).get("phase") == "Bound"
            await _write(self, PERSISTENTVOLUMES, found, plan(found, _VOLUME_FINALIZER, in_use=in_use))
        return None


def classes_of(obj: Object) -> Iterable[str]:
    """Return the classes of volume attributes that a claim or volume names: the one it has and the one it wants."""
    status = obj.get("status") or {}
    names = {
        obj["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    }
    return sorted(name for name in names if name)


class VolumeAttributesClassProtectionController(Controller):
    name = "volumeattributesclass-protection-controller"

    def register(self) -> None:
        self._classes = self.watch(VOLUMEATTRIBUTESCLASSES)
        self._users = [self.watch(resource, classes_of) for resource in (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES)]
        for users in self._users:
            users.add_index(_CLASS, classes_of)

    async def reconcile(self, key: str) -> float | None:
        found = self._classes.lister.get(key)
        if found is not None:
            in_use = any(users.lister.by_index(_CLASS, key) for users in self._users)
            await _write(self, VOLUMEATTRIBUTESCLASSES, found, plan(found, _CLASS_FINALIZER, in_use=in_use))
        return None


async def _write(controller: Controller, resource: Resource, obj: Object, finalizers: list[str] | None) -> None:
    if finalizers is None:
        return
    changed = {**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}}
    try:
        answer = await controller.client.update(resource, changed)
    except errors.NotFound:
        return
    controller.wrote(meta.key_of(obj), resource, answer)


def _ended(old: Object, new: Object) -> bool:
    return podutil.is_finished(old) != podutil.is_finished(new)
