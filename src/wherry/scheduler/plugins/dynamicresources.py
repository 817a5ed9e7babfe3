"""Allocates and reserves the ResourceClaims of a pod (KEP-4381)."""

import asyncio
import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api import meta
from wherry.api.cel.functions.times import parse_duration
from wherry.api.meta import Object
from wherry.api.resources import DEVICECLASSES, RESOURCECLAIMS, RESOURCESLICES
from wherry.client.client import MERGE_PATCH, STRATEGIC_PATCH, Client
from wherry.client.informer import InformerFactory
from wherry.scheduler.devicebinding import Readiness, must_wait, readiness_of
from wherry.scheduler.devicepools import Holdings, Inventory, inventory_of
from wherry.scheduler.devices import AllocationError, Late, allocate
from wherry.scheduler.framework import SKIP, Code, CycleState, Handle, Hint, Plugin, Remedy, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.selectors import NodeSelectorTerm
from wherry.util import clock

_FINALIZER = "resource.kubernetes.io/delete-protection"
_MOST_USERS = 256
_BINDING_TIMEOUT = "600s"
_SEARCH_TIMEOUT = "1s"
"""For all nodes together, where kube-scheduler gives ten seconds to each: this one shares its loop with the API."""

_LOOK_AGAIN = 5.0


class _Missing(Exception):
    """A claim of a pod cannot be used yet; the text says why."""


@dataclass(slots=True)
class _State:
    """`unavailable` are allocated claims that some node could not reach; `found` what each node would give."""

    claims: list[Object] = field(default_factory=list)
    held: Holdings = field(default_factory=Holdings)
    deadline: float = math.inf
    unavailable: dict[str, Object] = field(default_factory=dict)
    found: dict[str, list[Object]] = field(default_factory=dict)

    @property
    def to_allocate(self) -> list[Object]:
        return [claim for claim in self.claims if not _allocation(claim)]


class DynamicResources(Plugin):
    name = "DynamicResources"

    def __init__(
        self, cache: Any, arguments: dict[str, Any] | None = None, *, client: Client, factory: InformerFactory
    ) -> None:
        super().__init__(cache, arguments)
        self._client = client
        informer = factory.informer(RESOURCECLAIMS)
        self._claims = informer.lister
        self._slices = factory.informer(RESOURCESLICES).lister
        self._classes = factory.informer(DEVICECLASSES).lister
        self._pending: dict[str, Object] = {}
        self._timeout = parse_duration(self.arguments.get("bindingTimeout") or _BINDING_TIMEOUT).ns / 1e9
        self._search_timeout = parse_duration(self.arguments.get("filterTimeout") or _SEARCH_TIMEOUT).ns / 1e9
        self._changed = asyncio.Event()
        informer.add_handler(on_update=self._claim_changed, on_delete=lambda claim: self._settle(meta.uid(claim)))

    def hints(self) -> dict[str, Hint | None]:
        def claim(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            """Tell whether a claim of the pod came or changed its status, or another one gave devices back."""
            either = new or old or {}
            if meta.namespace(either) == info.namespace and meta.name(either) in dict(_names(info.pod)).values():
                return old is None or new is None or old.get("status") != new.get("status")
            return bool(old is not None and _allocation(old) and (new is None or not _allocation(new)))

        def asks(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            return bool(info.pod["spec"].get("resourceClaims"))

        return {"ResourceClaim": claim, "ResourceSlice": asks, "DeviceClass": asks, "Node": asks, "Pod": None}

    # Before the queue, and for all nodes.

    def pre_enqueue(self, info: PodInfo) -> Status | None:
        try:
            self._claims_of(info)
        except _Missing as missing:
            return self._refuse(str(missing))
        return None

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | None:
        if not info.pod["spec"].get("resourceClaims"):
            return SKIP
        try:
            found = _State(self._claims_of(info))
        except _Missing as missing:
            return self._refuse(str(missing))
        if not found.claims:
            return SKIP
        for claim in found.claims:
            if (status := self._check(claim, info)) is not None:
                return status
        found.held = self._held()
        if self._search_timeout > 0:
            found.deadline = clock.monotonic() + self._search_timeout
        state.data[self.name] = found
        return None

    def _claims_of(self, info: PodInfo) -> list[Object]:
        claims = []
        for entry, name in _names(info.pod):
            if name is None:
                raise _Missing(f'pod "{info.key}": ResourceClaim not created yet')
            claim = self._claims.get(f"{info.namespace}/{name}")
            if claim is None:
                raise _Missing(f'could not find v1.ResourceClaim "{info.namespace}/{name}"')
            if meta.is_deleting(claim):
                raise _Missing(f'resourceclaim "{name}" is being deleted')
            owner = meta.controller_of(claim)
            if entry and (owner is None or owner.get("uid") != info.uid):
                text = f"ResourceClaim {info.namespace}/{name} was not created for pod {info.key} (pod is not owner)"
                raise _Missing(text)
            claims.append(claim)
        return claims

    def _check(self, claim: Object, info: PodInfo) -> Status | None:
        """Refuse a claim that others have to themselves, that is under way, or whose classes do not exist."""
        if _allocation(claim):
            full = len(_users(claim)) >= _MOST_USERS and not _is_reserved(claim, info.uid)
            return self._refuse("resourceclaim in use") if full else None
        if meta.uid(claim) in self._pending:
            return self._refuse(f"resource claim {meta.key_of(claim)} is in the process of being allocated")
        for request in claim["spec"]["devices"].get("requests") or ():
            options = [(request["name"], request["exactly"])] if request.get("exactly") else []
            options += [(f"{request['name']}/{sub['name']}", sub) for sub in request.get("firstAvailable") or ()]
            for name, option in options:
                if self._classes.get(option["deviceClassName"]) is None:
                    return self._refuse(f"request {name}: device class {option['deviceClassName']} does not exist")
        return None

    def _refuse(self, reason: str) -> Status:
        return self.status(Code.UNRESOLVABLE, reason)

    # Of one node.

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        found: _State = state.data[self.name]
        unreachable = [claim for claim in found.claims if not self._is_usable(claim, node)]
        waiting = found.to_allocate
        if waiting:
            try:
                inventory = self._inventory(node)
                results = allocate(waiting, inventory, found.held, class_of=self._class, deadline=found.deadline)
            except Late:
                return self.status(Code.UNSCHEDULABLE, "timed out trying to allocate devices")
            except AllocationError as error:
                return self._refuse(str(error))
            if results is None:
                return self._refuse("cannot allocate all claims")
            found.found[node.name] = results
        if unreachable:
            found.unavailable.update((meta.uid(claim), claim) for claim in unreachable)
            return self._refuse("resourceclaim not available on the node")
        return None

    def _is_usable(self, claim: Object, node: NodeInfo) -> bool:
        if not _reaches(_allocation(claim), node):
            return False
        readiness, _ = readiness_of(claim, now=clock.now(), timeout=self._timeout)
        return readiness in (Readiness.READY, Readiness.WAITING)

    def _inventory(self, node: NodeInfo) -> Inventory:
        return inventory_of(self._slices.list(), node.name, node.labels)

    def _class(self, name: str) -> Object:
        found = self._classes.get(name)
        if found is None:
            raise AllocationError(f"device class {name} does not exist")
        return found

    def _held(self) -> Holdings:
        held = Holdings()
        for allocation in (*map(_allocation, self._claims.list()), *self._pending.values()):
            held.add(allocation or {})
        return held

    def post_filter(
        self, state: CycleState, info: PodInfo, statuses: dict[str, Status], handle: Handle
    ) -> Remedy | Status | None:
        found: _State | None = state.data.get(self.name)
        if found is None:
            return None
        for claim in found.unavailable.values():
            if all(user.get("uid") == info.uid for user in _users(claim)):
                return Remedy("deallocation of ResourceClaim completed", lambda: self._deallocate(claim))  # noqa: B023
        return self.status(Code.UNSCHEDULABLE, "still not schedulable")

    async def _deallocate(self, claim: Object) -> None:
        gone = ("allocation", "reservedFor", "devices")
        status = {name: value for name, value in claim["status"].items() if name not in gone}
        await self._client.update_status(RESOURCECLAIMS, {**claim, "status": status})

    # Binding.

    def reserve(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        found: _State | None = state.data.get(self.name)
        if found is None or not found.to_allocate:
            return None
        results = found.found.get(node_name)
        if results is None:
            return self.status(Code.ERROR, "claim allocation not found for node")
        for claim, allocation in zip(found.to_allocate, results, strict=True):
            self._pending[meta.uid(claim)] = allocation
        return None

    def unreserve(self, state: CycleState, info: PodInfo, node_name: str) -> None:
        found: _State | None = state.data.get(self.name)
        for claim in found.claims if found is not None else ():
            self._settle(meta.uid(claim))

    async def pre_bind(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        found: _State | None = state.data.get(self.name)
        if found is None:
            return None
        written: list[Object] = []
        try:
            for claim in [claim for claim in found.claims if not _is_reserved(claim, info.uid)]:
                written.append(await self._bind(claim, info))  # noqa: PERF401 - what was written counts on failure
        except BaseException:
            for claim in written:
                await self._give_back(claim, info)
            raise
        bound = [*(claim for claim in found.claims if _allocation(claim)), *written]
        return await self._wait_ready(bound) if any(must_wait(claim) for claim in bound) else None

    async def _wait_ready(self, claims: Sequence[Object]) -> Status | None:
        """Wait until the drivers have made all devices ready that need it."""
        while True:
            present = [self._claims.get(meta.key_of(claim)) or claim for claim in claims]
            found = [readiness_of(claim, now=clock.now(), timeout=self._timeout) for claim in present]
            for readiness, why in found:
                if readiness in (Readiness.FAILED, Readiness.LATE):
                    return self.status(Code.UNSCHEDULABLE, why)
            if all(readiness is Readiness.READY for readiness, _ in found) and all(map(_allocation, present)):
                return None
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._changed.wait()

    async def _bind(self, claim: Object, info: PodInfo) -> Object:
        """Write the allocation of a claim, where it is new, and that the pod uses it. Raises Conflict when stale."""
        status = dict(claim.get("status") or {})
        if not status.get("allocation"):
            finalizers = claim["metadata"].get("finalizers") or []
            if _FINALIZER not in finalizers:
                md = {"finalizers": [*finalizers, _FINALIZER], "uid": meta.uid(claim)}
                md["resourceVersion"] = claim["metadata"]["resourceVersion"]
                claim = await self._client.patch(
                    RESOURCECLAIMS, meta.name(claim), {"metadata": md}, meta.namespace(claim), content_type=MERGE_PATCH
                )
            status["allocation"] = {**self._pending[meta.uid(claim)], "allocationTimestamp": clock.timestamp()}
        user = {"resource": "pods", "name": meta.name(info.pod), "uid": info.uid}
        status["reservedFor"] = [*(status.get("reservedFor") or ()), user]
        return await self._client.update_status(RESOURCECLAIMS, {**claim, "status": status})

    async def _give_back(self, claim: Object, info: PodInfo) -> None:
        user = {"$patch": "delete", "uid": info.uid}
        patch = {"metadata": {"uid": meta.uid(claim)}, "status": {"reservedFor": [user]}}
        await self._client.patch(
            RESOURCECLAIMS,
            meta.name(claim),
            patch,
            meta.namespace(claim),
            content_type=STRATEGIC_PATCH,
            subresource="status",
        )

    def _claim_changed(self, old: Object, new: Object) -> None:
        self._changed.set()
        if _allocation(new):
            self._settle(meta.uid(new))

    def _settle(self, uid: str) -> None:
        """Forget an allocation under way: the cache has it, or nothing came of it."""
        self._pending.pop(uid, None)


def _names(pod: Object) -> Iterator[tuple[str, str | None]]:
    """Yield for each entry of a pod the template that it names, or nothing, and the claim: None when not made yet.

    An entry whose template gave no claim has an entry without a name in the status, and is left out.
    """
    made = {entry["name"]: entry for entry in (pod.get("status") or {}).get("resourceClaimStatuses") or ()}
    for entry in pod["spec"].get("resourceClaims") or ():
        if entry.get("resourceClaimName"):
            yield "", entry["resourceClaimName"]
        elif entry["name"] not in made:
            yield entry.get("resourceClaimTemplateName", ""), None
        elif name := made[entry["name"]].get("resourceClaimName"):
            yield entry.get("resourceClaimTemplateName", ""), name


def _allocation(claim: Object) -> Object | None:
    return (claim.get("status") or {}).get("allocation")


def _users(claim: Object) -> list[Object]:
    return (claim.get("status") or {}).get("reservedFor") or []


def _is_reserved(claim: Object, uid: str) -> bool:
    return any(user.get("uid") == uid for user in _users(claim))


def _reaches(allocation: Object | None, node: NodeInfo) -> bool:
    terms = ((allocation or {}).get("nodeSelector") or {}).get("nodeSelectorTerms")
    return terms is None or any(NodeSelectorTerm(term).matches(node.name, node.labels) for term in terms)
