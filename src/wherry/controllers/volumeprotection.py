"""Protection of volumes and claims in use.

Watches claims, volumes and pods. Writes the finalizers ``kubernetes.io/pvc-protection`` and
``kubernetes.io/pv-protection``. Guarantees that a claim which is being deleted stays while a pod that has not finished
uses it, and a volume while it is bound.
"""

from collections.abc import Iterable

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, Resource
from wherry.controllers import pods as podutil
from wherry.controllers.controller import Controller

_CLAIM = "claim"
_CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
_VOLUME_FINALIZER = "kubernetes.io/pv-protection"


def claims_of(pod: Object) -> Iterable[str]:
    """Return the keys of the claims that a pod uses, those of its ephemeral volumes too."""
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield f"{meta.namespace(pod)}/{volume['persistentVolumeClaim']['claimName']}"
        elif volume.get("ephemeral"):
            yield f"{meta.namespace(pod)}/{meta.name(pod)}-{volume['name']}"


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
