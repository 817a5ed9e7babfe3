"""The ephemeral volume controller: the claims of pods' generic ephemeral volumes.

Watches pods and claims. Writes claims, owned by their pods so that the garbage collector removes them together.
Guarantees that a pod never gets a claim that is not its own: one of the same name is reported and left alone.
"""

from collections.abc import Iterable

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PODS
from wherry.client.events import WARNING
from wherry.controllers import pods as podutil
from wherry.controllers.controller import Controller

_OF_CLAIM = "ephemeral claim"


def claims_of(pod: Object) -> dict[str, Object]:
    """Return the claim templates of the pod's ephemeral volumes by the claim's name."""
    volumes = pod["spec"].get("volumes") or ()
    return {
        f"{meta.name(pod)}-{volume['name']}": volume["ephemeral"].get("volumeClaimTemplate") or {}
        for volume in volumes
        if volume.get("ephemeral")
    }


def new_claim(pod: Object, name: str, template: Object) -> Object:
    """Return the claim to create for one volume of a pod."""
    found = template.get("metadata") or {}
    md = {part: dict(found[part]) for part in ("labels", "annotations") if found.get(part)}
    ref = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": meta.name(pod),
        "uid": meta.uid(pod),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "metadata": {**md, "name": name, "namespace": meta.namespace(pod), "ownerReferences": [ref]},
        "spec": meta.copy(template.get("spec") or {}),
    }


class EphemeralVolumeController(Controller):
    name = "ephemeral-volume-controller"
    component = "ephemeral_volume"

    def register(self) -> None:
        self._pods = self.watch(PODS, _with_volumes, changed=lambda old, new: False)
        self._pods.add_index(_OF_CLAIM, _claim_keys)
        self._claims = self.informer(PERSISTENTVOLUMECLAIMS)
        self._claims.add_handler(on_delete=self._claim_gone)

    def _claim_gone(self, claim: Object) -> None:
        for pod in self._pods.lister.by_index(_OF_CLAIM, meta.key_of(claim)):
            self.enqueue(pod)

    async def reconcile(self, key: str) -> float | None:
        pod = self._pods.lister.get(key)
        if pod is None or not podutil.is_active(pod):
            return None
        for name, template in claims_of(pod).items():
            await self._ensure(key, pod, name, template)
        return None

    async def _ensure(self, key: str, pod: Object, name: str, template: Object) -> None:
        claim = self._claims.lister.get(f"{meta.namespace(pod)}/{name}")
        if claim is not None:
            owner = meta.controller_of(claim)
            if owner is None or owner["uid"] != meta.uid(pod):
                raise errors.Conflict(f"PVC {meta.key_of(claim)} was not created for pod {key} (pod is not owner)")
            return
        try:
            made = await self.client.create(PERSISTENTVOLUMECLAIMS, new_claim(pod, name, template))
        except errors.StatusError as error:
            text = f"ephemeral volume: failed to create PVC {name}: {error}"
            self.recorder.event(pod, WARNING, "FailedBinding", text)
            raise
        self.wrote(key, PERSISTENTVOLUMECLAIMS, made)


def _with_volumes(pod: Object) -> Iterable[str]:
    return (meta.key_of(pod),) if claims_of(pod) and podutil.is_active(pod) else ()


def _claim_keys(pod: Object) -> Iterable[str]:
    return [f"{meta.namespace(pod)}/{name}" for name in claims_of(pod)]
