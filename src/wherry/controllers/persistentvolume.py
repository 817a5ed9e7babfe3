"""The persistent volume binder: brings claims and volumes together.

Watches claims, volumes and storage classes. Writes both sides of a binding (the volume's ``claimRef`` first, so that a
volume never has two claims), their phases, and the annotation that asks an external provisioner for a volume.
Guarantees that a claim gets the smallest available volume of its class that fits, and that a claim of a class that
waits for its first consumer is bound only when the scheduler has chosen a node. A claim without a class gets the
default one as soon as there is one. Deletes no data: that is the part of the provisioner that made the volume; one that
nobody made fails.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from wherry.api import errors, meta, quantity
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from wherry.api.selectors import labels
from wherry.client.events import NORMAL, WARNING
from wherry.controllers.controller import Controller
from wherry.controllers.volumeprotection import claims_of

BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_FAILURES = {"Delete": "VolumeFailedDelete", "Recycle": "VolumeFailedRecycle"}
_VOLUME_KEY = "pv:"
_CLASS = "class"
_CONSUMED = "claim"
_CLAIM = "claim"


def class_of(obj: Object) -> str:
    """Return the storage class of a claim or volume."""
    beta = meta.annotations(obj).get(_BETA_CLASS)
    return beta if beta is not None else obj["spec"].get("storageClassName") or ""


def claim_key(volume: Object) -> str:
    """Return the key of the claim that a volume is reserved for, empty when there is none."""
    ref = volume["spec"].get("claimRef")
    return f"{ref.get('namespace', '')}/{ref.get('name', '')}" if ref else ""


def is_reserved_for(volume: Object, claim: Object) -> bool:
    """Tell whether the volume's ``claimRef`` is this claim."""
    ref = volume["spec"].get("claimRef") or {}
    return claim_key(volume) == meta.key_of(claim) and ref.get("uid") in (None, "", meta.uid(claim))


def fits(claim: Object, volume: Object) -> bool:
    """Tell whether a volume can serve a claim."""
    spec, wanted = volume["spec"], claim["spec"]
    if meta.is_deleting(volume) or class_of(volume) != class_of(claim):
        return False
    if spec.get("volumeMode", "Filesystem") != wanted.get("volumeMode", "Filesystem"):
        return False
    if (spec.get("volumeAttributesClassName") or "") != (wanted.get("volumeAttributesClassName") or ""):
        return False
    if not set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ()):
        return False
    if wanted.get("selector") and not labels.from_selector(wanted["selector"]).matches(meta.labels(volume)):
        return False
    return _size(volume) >= quantity.parse(wanted["resources"]["requests"]["storage"]).value


def _size(volume: Object) -> Fraction:
    return quantity.parse(volume["spec"]["capacity"]["storage"]).value


def default_class(classes: Iterable[Object]) -> str | None:
    """Return the name of the default class, of several the newest, None when there is none."""
    marked = [kind for kind in classes if any(meta.annotations(kind).get(name) == "true" for name in _DEFAULT)]
    # Two sorts, so that of equally old ones the first by name counts.
    marked.sort(key=meta.name)
    marked.sort(key=lambda kind: str(kind["metadata"].get("creationTimestamp")), reverse=True)
    return meta.name(marked[0]) if marked else None


@dataclass(frozen=True, slots=True)
class Inputs:
    """An unbound claim, the volumes of its class and those reserved for it, its storage class, and the names of the
    pods that use it and have no node."""

    claim: Object
    volumes: tuple[Object, ...]
    storage_class: Object | None
    consumers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Bind to a volume, or look again `soon`, or ask a provisioner, or wait for the reason given."""

    bind: Object | None = None
    soon: bool = False
    provisioner: str = ""
    waiting: tuple[str, str] | None = None


def plan(inputs: Inputs) -> Plan:
    """Return what to do for a claim that is not bound.

    Asks for 1Gi, there are free volumes of 5Gi and 2Gi: bind that of 2Gi.
    """
    claim = inputs.claim
    wanted = claim["spec"].get("volumeName")
    if wanted:
        named = next((volume for volume in inputs.volumes if meta.name(volume) == wanted), None)
        if named is None or (named["spec"].get("claimRef") and not is_reserved_for(named, claim)):
            return Plan()
        return Plan(bind=named)
    reserved = [volume for volume in inputs.volumes if is_reserved_for(volume, claim)]
    if reserved:
        return Plan(bind=reserved[0])
    binding = (inputs.storage_class or {}).get("volumeBindingMode", "Immediate")
    if binding == "WaitForFirstConsumer" and SELECTED_NODE not in meta.annotations(claim):
        if inputs.consumers:
            message = f"waiting for pod {','.join(inputs.consumers)} to be scheduled"
            return Plan(waiting=("WaitForPodScheduled", message))
        return Plan(waiting=("WaitForFirstConsumer", "waiting for first consumer to be created before binding"))
    free = [volume for volume in inputs.volumes if not volume["spec"].get("claimRef") and fits(claim, volume)]
    available = [volume for volume in free if (volume.get("status") or {}).get("phase") == "Available"]
    if available:
        return Plan(bind=min(available, key=lambda volume: (_size(volume), meta.name(volume))))
    if free:
        return Plan(soon=True)
    provisioner = (inputs.storage_class or {}).get("provisioner", "")
    if provisioner and provisioner != _NO_PROVISIONER:
        return Plan(provisioner=provisioner)
    message = "no persistent volumes available for this claim and no storage class is set"
    if class_of(claim):
        if inputs.storage_class is None:
            message = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
            return Plan(waiting=("ProvisioningFailed", message))
        return Plan(waiting=("ProvisioningFailed", f"no volume plugin matched name: {provisioner}"))
    return Plan(waiting=("FailedBinding", message))


_LOOK_AGAIN = 3.0
_LOOK_SOON = 0.5
"""Seconds until a new volume is looked at again: as upstream, it is nobody's before it has become available, so that
who makes one may change it first."""


class PersistentVolumeController(Controller):
    name = "persistent-volume-binder"
    component = "persistentvolume-controller"

    def register(self) -> None:
        self._claims = self.watch(PERSISTENTVOLUMECLAIMS, _claim_keys)
        self._claims.add_index(_CLASS, lambda claim: () if claim["spec"].get("volumeName") else (class_of(claim),))
        self._volumes = self.watch(PERSISTENTVOLUMES, self._volume_keys)
        self._volumes.add_index(_CLASS, lambda volume: () if volume["spec"].get("claimRef") else (class_of(volume),))
        self._volumes.add_index(_CLAIM, lambda volume: (claim_key(volume),) if volume["spec"].get("claimRef") else ())
        self._classes = self.watch(STORAGECLASSES, lambda found: [*self._unbound(meta.name(found)), *self._unbound("")])
        self._pods = self.informer(PODS)
        self._pods.add_index(_CONSUMED, claims_of)

    def _unbound(self, name: str) -> Iterable[str]:
        return [meta.key_of(claim) for claim in self._claims.lister.by_index(_CLASS, name)]

    def _volume_keys(self, volume: Object) -> Iterable[str]:
        yield _VOLUME_KEY + meta.name(volume)
        if volume["spec"].get("claimRef"):
            yield claim_key(volume)
        else:
            # As upstream, a claim that waits looks at new volumes now and then, not at the very moment they appear:
            # whoever makes several has time to make them.
            for key in self._unbound(class_of(volume)):
                self.queue.add_after(key, _LOOK_AGAIN)

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_VOLUME_KEY):
            volume = self._volumes.lister.get(key.removeprefix(_VOLUME_KEY))
            if volume is not None:
                await self._reconcile_volume(key, volume)
            return None
        claim = self._claims.lister.get(key)
        if claim is None:
            return None
        if BIND_COMPLETED in meta.annotations(claim):
            await self._check_bound(key, claim)
        elif not meta.is_deleting(claim):
            return await self._bind_claim(key, claim)
        return None

    # Volumes.

    async def _reconcile_volume(self, key: str, volume: Object) -> None:
        ref = volume["spec"].get("claimRef")
        phase, message = "Available", ""
        if ref and ref.get("uid"):
            claim = self._claims.lister.get(claim_key(volume))
            if claim is None or meta.uid(claim) != ref["uid"]:
                if not await self._is_gone(ref):
                    return
                phase, message = _after_release(volume)
            elif claim["spec"].get("volumeName") == meta.name(volume):
                phase = "Bound"
            elif claim["spec"].get("volumeName"):
                await self._unbind_volume(key, volume)
                return
            else:
                phase = (volume.get("status") or {}).get("phase") or "Available"
        status = volume.get("status") or {}
        if status.get("phase") == "Failed" or status.get("phase") == phase:
            return
        new = {name: value for name, value in status.items() if name not in ("phase", "message", "reason")}
        new["phase"] = phase
        if message:
            new["message"] = message
            self.recorder.event(volume, WARNING, _FAILURES[volume["spec"]["persistentVolumeReclaimPolicy"]], message)
        answer = await self.client.update_status(PERSISTENTVOLUMES, {**volume, "status": new})
        self.wrote(key, PERSISTENTVOLUMES, answer)

    async def _is_gone(self, ref: Object) -> bool:
        if not (ref.get("name") and ref.get("namespace")):
            return True
        try:
            fresh = await self.client.get(PERSISTENTVOLUMECLAIMS, ref["name"], ref["namespace"])
        except errors.NotFound:
            return True
        return meta.uid(fresh) != ref["uid"]

    async def _unbind_volume(self, key: str, volume: Object) -> None:
        """Give a volume back whose claim has bound to another one."""
        changed = meta.copy(volume)
        if changed["metadata"].get("annotations", {}).pop(BOUND_BY_CONTROLLER, None):
            del changed["spec"]["claimRef"]
        else:
            for name in ("uid", "resourceVersion"):
                changed["spec"]["claimRef"].pop(name, None)
        self.wrote(key, PERSISTENTVOLUMES, await self.client.update(PERSISTENTVOLUMES, changed))

    # Claims.

    async def _bind_claim(self, key: str, claim: Object) -> float | None:
        if await self._give_default_class(key, claim):
            return None
        name = class_of(claim)
        volumes = [*self._volumes.lister.by_index(_CLAIM, key), *self._volumes.lister.by_index(_CLASS, name)]
        wanted = claim["spec"].get("volumeName")
        if wanted and (found := self._volumes.lister.get(wanted)) is not None:
            volumes.append(found)
        consumers = (pod for pod in self._pods.lister.by_index(_CONSUMED, key) if not pod["spec"].get("nodeName"))
        storage_class = self._classes.lister.get(name) if name else None
        todo = plan(Inputs(claim, tuple(volumes), storage_class, tuple(map(meta.name, consumers))))
        if todo.bind is not None:
            await self._bind(key, claim, todo.bind)
            return None
        if todo.provisioner:
            claim = await self._ask_provisioner(key, claim, todo.provisioner)
        elif todo.waiting is not None:
            kind = WARNING if todo.waiting[0] == "ProvisioningFailed" else NORMAL
            self.recorder.event(claim, kind, *todo.waiting)
        await self._write_claim_status(key, claim, {"phase": "Pending"})
        return _LOOK_SOON if todo.soon else None

    async def _give_default_class(self, key: str, claim: Object) -> bool:
        """Write the default class into a claim that names none; tell whether it did."""
        if claim["spec"].get("storageClassName") is not None or _BETA_CLASS in meta.annotations(claim):
            return False
        name = default_class(self._classes.lister.list())
        if name is None:
            return False
        changed = {**claim, "spec": {**claim["spec"], "storageClassName": name}}
        self.wrote(key, PERSISTENTVOLUMECLAIMS, await self.client.update(PERSISTENTVOLUMECLAIMS, changed))
        return True

    async def _bind(self, key: str, claim: Object, volume: Object) -> None:
        if not is_reserved_for(volume, claim) or not volume["spec"]["claimRef"].get("uid"):
            volume = await self._reserve(key, claim, volume)
        status = volume.get("status") or {}
        if status.get("phase") != "Bound":
            changed = {**volume, "status": {**status, "phase": "Bound"}}
            volume = self.wrote(key, PERSISTENTVOLUMES, await self.client.update_status(PERSISTENTVOLUMES, changed))
        annotations = {**meta.annotations(claim), BIND_COMPLETED: "yes"}
        if not claim["spec"].get("volumeName"):
            annotations[BOUND_BY_CONTROLLER] = "yes"
        changed = {
            **claim,
            "metadata": {**claim["metadata"], "annotations": annotations},
            "spec": {**claim["spec"], "volumeName": meta.name(volume)},
        }
        claim = self.wrote(key, PERSISTENTVOLUMECLAIMS, await self.client.update(PERSISTENTVOLUMECLAIMS, changed))
        await self._write_bound(key, claim, volume)

    async def _reserve(self, key: str, claim: Object, volume: Object) -> Object:
        ref = {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": meta.namespace(claim),
            "name": meta.name(claim),
            "uid": meta.uid(claim),
            "resourceVersion": claim["metadata"]["resourceVersion"],
        }
        md = volume["metadata"]
        if not volume["spec"].get("claimRef"):
            md = {**md, "annotations": {**meta.annotations(volume), BOUND_BY_CONTROLLER: "yes"}}
        changed = {**volume, "metadata": md, "spec": {**volume["spec"], "claimRef": ref}}
        return self.wrote(key, PERSISTENTVOLUMES, await self.client.update(PERSISTENTVOLUMES, changed))

    async def _check_bound(self, key: str, claim: Object) -> None:
        volume = self._volumes.lister.get(claim["spec"].get("volumeName") or "")
        if volume is not None and not volume["spec"].get("claimRef"):
            volume = await self._reserve(key, claim, volume)
        if volume is None or not is_reserved_for(volume, claim):
            if (claim.get("status") or {}).get("phase") != "Lost":
                missing = volume is None
                reason = "ClaimLost" if missing else "ClaimMisbound"
                message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                if not missing:
                    message = "Two claims are bound to the same volume, this one is bound incorrectly"
                self.recorder.event(claim, WARNING, reason, message)
                await self._write_claim_status(key, claim, {"phase": "Lost"})
            return
        await self._write_bound(key, claim, volume)

    async def _write_bound(self, key: str, claim: Object, volume: Object) -> None:
        status = claim.get("status") or {}
        capacity = status.get("capacity") if status.get("phase") == "Bound" else None
        wanted = {
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes") or [],
            "capacity": capacity or volume["spec"]["capacity"],
        }
        await self._write_claim_status(key, claim, wanted)

    async def _write_claim_status(self, key: str, claim: Object, wanted: Object) -> None:
        status = {**(claim.get("status") or {}), **wanted}
        if status == claim.get("status"):
            return
        answer = await self.client.update_status(PERSISTENTVOLUMECLAIMS, {**claim, "status": status})
        self.wrote(key, PERSISTENTVOLUMECLAIMS, answer)

    async def _ask_provisioner(self, key: str, claim: Object, provisioner: str) -> Object:
        wanted = {PROVISIONER: provisioner, BETA_PROVISIONER: provisioner}
        if not wanted.items() <= meta.annotations(claim).items():
            annotations = {**meta.annotations(claim), **wanted}
            claim = {**claim, "metadata": {**claim["metadata"], "annotations": annotations}}
            claim = self.wrote(key, PERSISTENTVOLUMECLAIMS, await self.client.update(PERSISTENTVOLUMECLAIMS, claim))
            message = (
                f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by "
                "the system administrator. If volume creation is delayed, please verify that the provisioner is "
                "running and correctly registered."
            )
            self.recorder.event(claim, NORMAL, "ExternalProvisioning", message)
        return claim


def _after_release(volume: Object) -> tuple[str, str]:
    """Return the phase of a volume whose claim is gone, and the message of a failure."""
    policy = volume["spec"].get("persistentVolumeReclaimPolicy", "Retain")
    if policy == "Delete" and _PROVISIONED_BY not in meta.annotations(volume):
        return "Failed", (
            f'error getting deleter volume plugin for volume "{meta.name(volume)}": no deletable volume plugin matched'
        )
    if policy == "Recycle":
        return "Failed", "No recycler plugin found for the volume!"
    return "Released", ""


def _claim_keys(claim: Object) -> Iterable[str]:
    yield meta.key_of(claim)
    if claim["spec"].get("volumeName"):
        yield _VOLUME_KEY + claim["spec"]["volumeName"]
