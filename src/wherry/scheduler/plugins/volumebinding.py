"""Nodes must be able to use a pod's volumes; claims that wait for their first consumer are bound before the pod is."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from wherry.client.client import Client
from wherry.client.informer import InformerFactory
from wherry.scheduler import claims
from wherry.scheduler.framework import SKIP, Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo

_NO_VOLUMES = "node(s) didn't find available persistent volumes to bind"
_NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
_NO_SUCH_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
_UNBOUND_IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
_BIND_TIMEOUT = 600.0


@dataclass(slots=True)
class _State:
    """`volumes` are the names of those that are bound already; `waiting` the claims that wait for a node.

    `static` and `dynamic` are the decision for the chosen node.
    """

    volumes: list[str] = field(default_factory=list)
    waiting: list[Object] = field(default_factory=list)
    static: list[tuple[Object, Object]] = field(default_factory=list)
    dynamic: list[Object] = field(default_factory=list)


class VolumeBinding(Plugin):
    name = "VolumeBinding"

    def __init__(
        self, cache: Any, arguments: dict[str, Any] | None = None, *, client: Client, factory: InformerFactory
    ) -> None:
        super().__init__(cache, arguments)
        self._client = client
        self._timeout = float(self.arguments.get("bindTimeoutSeconds") or _BIND_TIMEOUT)
        claim_informer = factory.informer(PERSISTENTVOLUMECLAIMS)
        volume_informer = factory.informer(PERSISTENTVOLUMES)
        self._claims, self._volumes = claim_informer.lister, volume_informer.lister
        self._classes = factory.informer(STORAGECLASSES).lister
        self._taken: dict[str, str] = {}
        self._changed = asyncio.Event()
        claim_informer.add_handler(on_update=lambda _, claim: self._wake(), on_delete=lambda claim: self._wake())

    def hints(self) -> dict[str, Hint | None]:
        def own(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is not None and any(ref.key == meta.key_of(new) for ref in claims.claims_of(info))

        always = ("Node", "PersistentVolume", "StorageClass", "CSINode", "Pod")
        return {"PersistentVolumeClaim": own, **dict.fromkeys(always)}

    # Filtering.

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | None:
        if not info.shape.volumes:
            return SKIP
        found = _State()
        unbound_immediate = False
        any_claim = False
        for ref in claims.claims_of(info):
            any_claim = True
            name = meta.split_key(ref.key)[1]
            claim = self._claims.get(ref.key)
            if claim is None:
                return self._refuse(_absent(ref, name))
            if (status := self._check(claim, ref, info, name)) is not None:
                return status
            if claims.is_bound(claim):
                found.volumes.append(claim["spec"]["volumeName"])
            elif self._waits_for_consumer(claim):
                found.waiting.append(claim)
            else:
                unbound_immediate = True
        if not any_claim:
            return SKIP
        if unbound_immediate:
            return self._refuse(_UNBOUND_IMMEDIATE)
        state.data[self.name] = found
        return None

    def _check(self, claim: Object, ref: claims.ClaimRef, info: PodInfo, name: str) -> Status | None:
        if (claim.get("status") or {}).get("phase") == "Lost":
            volume = claim["spec"].get("volumeName") or ""
            return self._refuse(f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"')
        if meta.is_deleting(claim):
            return self._refuse(f'persistentvolumeclaim "{name}" is being deleted')
        owner = meta.controller_of(claim)
        if ref.ephemeral and (owner is None or owner.get("uid") != info.uid):
            return self._refuse(f"PVC {ref.key} was not created for pod {info.key} (pod is not owner)")
        return None

    def _refuse(self, reason: str) -> Status:
        return self.status(Code.UNRESOLVABLE, reason)

    def _waits_for_consumer(self, claim: Object) -> bool:
        storage_class = self._classes.get(claims.class_of(claim)) if claims.class_of(claim) else None
        # One whose volume was named beforehand is bound by the controller.
        waits = storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
        return waits and not claim["spec"].get("volumeName")

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        found: _State = state.data[self.name]
        reasons = []
        for name in found.volumes:
            volume = self._volumes.get(name)
            if volume is None:
                return self._refuse(_NO_SUCH_VOLUME)
            if not claims.volume_takes_node(volume, node):
                reasons.append(_NODE_CONFLICT)
                break
        if found.waiting and self._decide(found.waiting, node) is None:
            reasons.append(_NO_VOLUMES)
        return self.status(Code.UNRESOLVABLE, *reasons) if reasons else None

    def _decide(self, waiting: list[Object], node: NodeInfo) -> tuple[list[tuple[Object, Object]], list[Object]] | None:
        """Return the volume for each claim and the claims to provision, None when the node serves one of them not."""
        static: list[tuple[Object, Object]] = []
        dynamic = []
        taken = dict(self._taken)
        volumes = self._volumes.list()
        for claim in sorted(waiting, key=meta.key_of):
            selected = meta.annotations(claim).get(claims.SELECTED_NODE)
            if selected is not None:
                if selected != node.name:
                    return None
                dynamic.append(claim)  # being provisioned for this node
                continue
            volume = claims.find_volume(claim, volumes, node, taken=taken)
            if volume is not None:
                taken[meta.name(volume)] = meta.key_of(claim)
                static.append((claim, volume))
                continue
            storage_class = self._classes.get(claims.class_of(claim))
            if storage_class is None or not claims.class_provisions(storage_class, node):
                return None
            dynamic.append(claim)
        return static, dynamic

    # Binding.

    def reserve(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        found: _State | None = state.data.get(self.name)
        if found is None or not found.waiting:
            return None
        decision = self._decide(found.waiting, self.cache.nodes[node_name])
        if decision is None:
            return self._refuse(_NO_VOLUMES)
        found.static, found.dynamic = decision
        for claim, volume in found.static:
            self._taken[meta.name(volume)] = meta.key_of(claim)
        return None

    def unreserve(self, state: CycleState, info: PodInfo, node_name: str) -> None:
        self._release(state.data.get(self.name))

    def post_bind(self, state: CycleState, info: PodInfo, node_name: str) -> None:
        self._release(state.data.get(self.name))

    def _release(self, found: _State | None) -> None:
        for _, volume in found.static if found else ():
            self._taken.pop(meta.name(volume), None)

    async def pre_bind(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        found: _State | None = state.data.get(self.name)
        if found is None or not found.waiting:
            return None
        for claim, volume in found.static:
            await self._bind_volume(claim, volume)
        for claim in found.dynamic:
            if meta.annotations(claim).get(claims.SELECTED_NODE) != node_name:
                patch = {"metadata": {"uid": meta.uid(claim), "annotations": {claims.SELECTED_NODE: node_name}}}
                await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), patch, meta.namespace(claim))
        try:
            async with asyncio.timeout(self._timeout):
                return await self._wait_bound(found, node_name)
        except TimeoutError:
            return self.status(Code.ERROR, "binding volumes: context deadline exceeded")

    async def _bind_volume(self, claim: Object, volume: Object) -> None:
        ref = {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": meta.namespace(claim),
            "name": meta.name(claim),
            "uid": meta.uid(claim),
            "resourceVersion": claim["metadata"].get("resourceVersion"),
        }
        new = meta.copy(volume)
        new["spec"]["claimRef"] = ref
        new["metadata"].setdefault("annotations", {})[claims.BOUND_BY_CONTROLLER] = "yes"
        await self._client.update(PERSISTENTVOLUMES, new)

    async def _wait_bound(self, found: _State, node_name: str) -> Status | None:
        """Wait until the controllers have bound every claim."""
        provisioned = {meta.key_of(claim) for claim in found.dynamic}
        asked = {key for key in provisioned if self._selected(key) == node_name}
        while True:
            self._changed.clear()
            current = {meta.key_of(c): self._claims.get(meta.key_of(c)) for c in found.waiting}
            for key, claim in current.items():
                if claim is None:
                    return self.status(Code.ERROR, f'binding volumes: persistentvolumeclaim "{key}" not found')
                if key in asked and not claims.is_bound(claim) and self._selected(key) != node_name:
                    # The provisioner gave up on this node.
                    return self.status(Code.ERROR, f"binding volumes: provisioning failed for PVC {meta.name(claim)!r}")
                if self._selected(key) == node_name:
                    asked.add(key)
            if all(claim is not None and claims.is_bound(claim) for claim in current.values()):
                return None
            await self._changed.wait()

    def _selected(self, key: str) -> str | None:
        claim = self._claims.get(key)
        return meta.annotations(claim).get(claims.SELECTED_NODE) if claim else None

    def _wake(self) -> None:
        self._changed.set()


def _absent(ref: claims.ClaimRef, name: str) -> str:
    if ref.ephemeral:
        return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
    return f'persistentvolumeclaim "{name}" not found'
