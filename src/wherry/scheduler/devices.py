"""Which devices a node could give to claims: `allocate`, a search over pools of devices (KEP-4381).

Pure: the inventory comes from ResourceSlices, what is held from the claims that are allocated. Devices are looked at in
the order of driver, pool and device; of requests with alternatives the first that works is taken.
"""

import math
import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api import meta
from wherry.api.cel import CompileError
from wherry.api.cel.devices import attribute, binding, selector, split_name
from wherry.api.cel.values import EvalError
from wherry.api.meta import Object
from wherry.scheduler.devicecapacity import Amounts, consumed
from wherry.scheduler.devicepools import Device, Holdings, Inventory, Room, of_node
from wherry.util import clock


class Late(Exception):
    """The search took longer than it may: it grows with the combinations of devices, and holds up everybody."""


class AllocationError(Exception):
    """What claims ask for cannot be reckoned; the text says which request and why."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request or alternative of a request, with its class. `count` None: all that match."""

    name: str
    request: Mapping[str, Any]
    device_class: Object
    count: int | None

    @property
    def admin(self) -> bool:
        return bool(self.request.get("adminAccess"))


@dataclass(slots=True)
class _Search:
    """`chosen` are the devices so far, each with the number of its claim and what of it is consumed."""

    room: Room
    node_name: str
    deadline: float
    chosen: list[tuple[int, Ask, Device, Amounts]] = field(default_factory=list)


def allocate(
    claims: Sequence[Object],
    inventory: Inventory,
    held: Holdings,
    *,
    class_of: Callable[[str], Object],
    deadline: float = math.inf,
) -> list[Object] | None:
    """Return an AllocationResult for each claim, None when the devices do not suffice. Raises AllocationError, Late.

    `class_of` gives a DeviceClass by its name, which must exist; `deadline` is a time of `clock.monotonic`.
    """
    slots = [
        (at, request) for at, claim in enumerate(claims) for request in claim["spec"]["devices"].get("requests") or ()
    ]
    search = _Search(Room(inventory, held), inventory.node_name, deadline)
    if not _serve(search, slots, claims, inventory.devices, class_of):
        return None
    return [_result(at, claim, search) for at, claim in enumerate(claims)]


def _serve(
    search: _Search,
    slots: Sequence[tuple[int, Object]],
    claims: Sequence[Object],
    devices: Sequence[Device],
    class_of: Callable[[str], Object],
) -> bool:
    if not slots:
        return True
    (at, request), rest = slots[0], slots[1:]

    def go_on() -> bool:
        return _serve(search, rest, claims, devices, class_of)

    for ask in _asks(request, class_of):
        fitting = _fitting(ask, devices, claims[at])
        if ask.count is None:
            # All means all: one that is in use makes the request fail.
            usable = fitting and (ask.admin or all(search.room.has(*found) for found in fitting))
            if usable and _take(search, at, ask, fitting, len(fitting), claims[at], go_on):
                return True
        elif _take(search, at, ask, fitting, ask.count, claims[at], go_on):
            return True
    return False


def _take(
    search: _Search,
    at: int,
    ask: Ask,
    candidates: Sequence[tuple[Device, Amounts]],
    count: int,
    claim: Object,
    go_on: Callable[[], bool],
) -> bool:
    """Take `count` of the candidates in every combination until the rest can be served too."""
    if count == 0:
        return go_on()
    if clock.monotonic() > search.deadline:
        raise Late
    for number, (device, amounts) in enumerate(candidates):
        if ask.admin:
            if any(of == at and other.id == device.id for of, _, other, _ in search.chosen):
                continue
        elif not search.room.has(device, amounts):
            continue
        search.chosen.append((at, ask, device, amounts))
        if _agree(search, at, claim):
            if not ask.admin:
                search.room.take(device, amounts)
            # A device that may be shared can serve the same request again, but all of them are each taken once.
            again = device.shared and not ask.admin and ask.count is not None
            if _take(search, at, ask, candidates[number + (not again) :], count - 1, claim, go_on):
                return True
            if not ask.admin:
                search.room.give_back(device)
        search.chosen.pop()
        if ask.count is None:
            return False
    return False


def _asks(request: Object, class_of: Callable[[str], Object]) -> Iterator[Ask]:
    exactly = request.get("exactly")
    options = [(request["name"], exactly)] if exactly is not None else []
    options += [(f"{request['name']}/{sub['name']}", sub) for sub in request.get("firstAvailable") or ()]
    for name, option in options:
        every = option.get("allocationMode") == "All"
        yield Ask(name, option, class_of(option["deviceClassName"]), None if every else option.get("count") or 1)


def _fitting(ask: Ask, devices: Sequence[Device], claim: Object) -> list[tuple[Device, Amounts]]:
    """Return the devices that suit a request if they are free, each with what it would consume."""
    wanted = (ask.request.get("capacity") or {}).get("requests") or {}
    found = []
    for device in devices:
        if _fits(ask, device, claim):
            amounts = consumed(wanted, device.spec.get("capacity") or {})
            if amounts is not None:
                found.append((device, amounts))
    return found


def _fits(ask: Ask, device: Device, claim: Object) -> bool:
    selectors = [*(ask.device_class["spec"].get("selectors") or ()), *(ask.request.get("selectors") or ())]
    driver = device.id[0]
    try:
        value = binding(device.spec, driver) if selectors else None
        for found in selectors:
            if selector(found["cel"]["expression"]).evaluate({"device": value}) is not True:
                return False
    except (CompileError, EvalError) as error:
        raise AllocationError(f"claim {meta.key_of(claim)}, request {ask.name}: selector: {error}") from error
    return _tolerates(ask.request, device.spec)


def _tolerates(request: Mapping[str, Any], device: Mapping[str, Any]) -> bool:
    tolerations = request.get("tolerations") or ()
    taints = [taint for taint in device.get("taints") or () if taint["effect"] != "None"]
    return all(any(_tolerated(taint, toleration) for toleration in tolerations) for taint in taints)


def _tolerated(taint: Mapping[str, Any], toleration: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    exists = toleration.get("operator") == "Exists"
    return exists or (toleration.get("value") or "") == (taint.get("value") or "")


def _agree(search: _Search, at: int, claim: Object) -> bool:
    """Tell whether the devices chosen so far meet the constraints of a claim."""
    for constraint in claim["spec"]["devices"].get("constraints") or ():
        name = constraint.get("matchAttribute") or constraint.get("distinctAttribute")
        requests = constraint.get("requests") or ()
        concerned = [device for of, ask, device, _ in search.chosen if of == at and _is_of(ask.name, requests)]
        values = [_attribute_of(device, name) for device in concerned]
        if None in values:
            return False
        if constraint.get("matchAttribute"):
            if any(value != values[0] for value in values[1:]):
                return False
        elif len(values) != len(set(values)):
            return False
    return True


def _is_of(name: str, requests: Sequence[str]) -> bool:
    """Tell whether a list of requests, empty for all, holds a request or the one that it is an alternative of."""
    return not requests or name in requests or name.partition("/")[0] in requests


def _attribute_of(device: Device, name: str) -> Any:
    wanted = split_name(name, device.id[0])
    for key, holder in (device.spec.get("attributes") or {}).items():
        if split_name(key, device.id[0]) == wanted:
            value = attribute(holder)
            return type(value).__name__, value
    return None


def _result(at: int, claim: Object, search: _Search) -> Object:
    own = [(ask, device, amounts) for of, ask, device, amounts in search.chosen if of == at]
    results = []
    for ask, device, amounts in own:
        driver, pool, name = device.id
        entry: Object = {"request": ask.name, "driver": driver, "pool": pool, "device": name}
        if ask.admin:
            entry["adminAccess"] = True
        if device.shared:
            entry["shareID"] = _share_id()
            if amounts:
                entry["consumedCapacity"] = {name: str(amount) for name, amount in amounts.items()}
        for member in ("bindingConditions", "bindingFailureConditions"):
            if device.spec.get(member):
                entry[member] = list(device.spec[member])
        if ask.request.get("tolerations"):
            entry["tolerations"] = meta.copy({"list": ask.request["tolerations"]})["list"]
        results.append(entry)
    found: Object = {"devices": {"results": results}}
    if config := _configuration(claim, [ask for ask, _, _ in own]):
        found["devices"]["config"] = config
    if selector := _node_selector([device for _, device, _ in own], search.node_name):
        found["nodeSelector"] = selector
    return found


def _share_id() -> str:
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def _configuration(claim: Object, asked: Sequence[Ask]) -> list[Object]:
    asks = {ask.name: ask for ask in asked}
    of_classes = [
        {"source": "FromClass", "requests": [name], **meta.copy(entry)}
        for name, ask in asks.items()
        for entry in ask.device_class["spec"].get("config") or ()
    ]
    of_claim = [
        {"source": "FromClaim", **meta.copy(entry)}
        for entry in claim["spec"]["devices"].get("config") or ()
        if any(_is_of(name, entry.get("requests") or ()) for name in asks)
    ]
    return [*of_classes, *of_claim]


def _node_selector(devices: Sequence[Device], node_name: str) -> Object | None:
    """Return where all of the devices can be used, None for everywhere; some bind to the node that was chosen."""
    if any(device.spec.get("bindsToNode") for device in devices):
        return meta.copy(of_node(node_name))
    terms: list[Object] = []
    for device in devices:
        places = [meta.copy(term) for term in device.nodes.get("nodeSelectorTerms") or ()]
        if not places or places == terms:
            continue
        terms = places if not terms else [_both(old, new) for old in terms for new in places]
    return {"nodeSelectorTerms": terms} if terms else None


def _both(old: Object, new: Object) -> Object:
    merged: Object = {}
    for part in ("matchExpressions", "matchFields"):
        wanted = [*(old.get(part) or ())]
        wanted += [requirement for requirement in new.get(part) or () if requirement not in wanted]
        if wanted:
            merged[part] = wanted
    return merged
