"""The devices of ResourceSlices, and what of them is in use: whole, in shares, and through counters (KEP-4815)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from wherry.api import meta, quantity
from wherry.api.meta import Object
from wherry.scheduler.devicecapacity import Amounts
from wherry.scheduler.selectors import NodeSelectorTerm

DeviceId = tuple[str, str, str]
"""Driver, pool and device."""

Counter = tuple[str, str, str, str]
"""Driver, pool, counter set and counter."""

_ANY_NODE: Object = {}


@dataclass(frozen=True, slots=True)
class Device:
    """One device that the node can use; `nodes` is where its slice says that it is: a NodeSelector, or empty: all."""

    id: DeviceId
    spec: Mapping[str, Any]
    nodes: Mapping[str, Any]

    @property
    def shared(self) -> bool:
        """Whether it may be given to several requests."""
        return bool(self.spec.get("allowMultipleAllocations"))


@dataclass(slots=True)
class Inventory:
    """The `devices` that the node can use, what there is of each counter, and what each device of their pools takes of
    which, those of other nodes too."""

    node_name: str
    devices: list[Device] = field(default_factory=list)
    counters: dict[Counter, Fraction] = field(default_factory=dict)
    uses: dict[DeviceId, Sequence[tuple[Counter, Fraction]]] = field(default_factory=dict)


class Holdings:
    """What is taken: devices `whole`, and `shares` of those that several may have, by capacity."""

    def __init__(self, whole: Iterable[DeviceId] = ()) -> None:
        self.whole = set(whole)
        self.shares: dict[DeviceId, list[dict[str, Fraction]]] = {}

    def copy(self) -> "Holdings":
        """Return a copy that can be changed."""
        other = Holdings(self.whole)
        other.shares = {device: list(shares) for device, shares in self.shares.items()}
        return other

    def add(self, allocation: Object) -> None:
        """Add what an allocation holds; administrative access holds nothing."""
        for result in (allocation.get("devices") or {}).get("results") or ():
            if result.get("adminAccess"):
                continue
            device = result["driver"], result["pool"], result["device"]
            if result.get("shareID"):
                amounts = (result.get("consumedCapacity") or {}).items()
                self.shares.setdefault(device, []).append({name: quantity.parse(text).value for name, text in amounts})
            else:
                self.whole.add(device)

    def holds(self, device: DeviceId) -> bool:
        """Tell whether a device is in use, be it in part."""
        return device in self.whole or bool(self.shares.get(device))


class Room:
    """What is left of an inventory, while devices are taken and given back."""

    def __init__(self, inventory: Inventory, held: Holdings) -> None:
        self._inventory = inventory
        self._held = held.copy()
        self._used: dict[Counter, Fraction] = {}
        for device in inventory.uses:
            if held.holds(device):
                self._count(device, 1)

    def has(self, device: Device, amounts: Amounts) -> bool:
        """Tell whether a device can be taken, of a shared one the amounts."""
        held = self._held
        if device.id in held.whole:
            return False
        shares = held.shares.get(device.id)
        if shares:
            return device.shared and all(
                sum(share.get(name, 0) for share in shares) + amount.value
                <= quantity.parse(device.spec["capacity"][name]["value"]).value
                for name, amount in amounts.items()
            )
        limits, used = self._inventory.counters, self._used
        uses = self._inventory.uses.get(device.id, ())
        return all(used.get(counter, 0) + amount <= limits.get(counter, -1) for counter, amount in uses)

    def take(self, device: Device, amounts: Amounts) -> None:
        """Take a device; of a shared one the amounts."""
        if not self._held.holds(device.id):
            self._count(device.id, 1)
        if device.shared:
            share = {name: amount.value for name, amount in amounts.items()}
            self._held.shares.setdefault(device.id, []).append(share)
        else:
            self._held.whole.add(device.id)

    def give_back(self, device: Device) -> None:
        """Undo the last `take` of a device."""
        if device.shared:
            self._held.shares[device.id].pop()
        else:
            self._held.whole.discard(device.id)
        if not self._held.holds(device.id):
            self._count(device.id, -1)

    def _count(self, device: DeviceId, by: int) -> None:
        for counter, amount in self._inventory.uses.get(device, ()):
            self._used[counter] = self._used.get(counter, Fraction(0)) + by * amount


def inventory_of(slices: Iterable[Object], node_name: str, labels: Mapping[str, str]) -> Inventory:
    """Return what a node can use of the complete pools, each in its newest generation."""
    found = Inventory(node_name)
    for (driver, pool), members in sorted(_pools(slices).items()):
        if len(members) != members[0]["spec"]["pool"].get("resourceSliceCount", 1):
            continue
        for member in sorted(members, key=meta.name):
            spec = member["spec"]
            for counters in spec.get("sharedCounters") or ():
                for counter, amount in _amounts((driver, pool), counters["name"], counters.get("counters")):
                    found.counters[counter] = amount
            for device in spec.get("devices") or ():
                key = driver, pool, device["name"]
                if taken := [
                    use
                    for entry in device.get("consumesCounters") or ()
                    for use in _amounts((driver, pool), entry["counterSet"], entry.get("counters"))
                ]:
                    found.uses[key] = taken
                where = device if spec.get("perDeviceNodeSelection") else spec
                if _reaches(where, node_name, labels):
                    found.devices.append(Device(key, device, _place(where)))
    return found


def _pools(slices: Iterable[Object]) -> dict[tuple[str, str], list[Object]]:
    """Return the slices of each pool that are of its newest generation."""
    pools: dict[tuple[str, str], list[Object]] = {}
    for found in slices:
        spec = found["spec"]
        key = spec["driver"], spec["pool"]["name"]
        before = pools.get(key)
        generation = spec["pool"].get("generation", 0)
        if before is None or generation > before[0]["spec"]["pool"].get("generation", 0):
            pools[key] = [found]
        elif generation == before[0]["spec"]["pool"].get("generation", 0):
            before.append(found)
    return pools


def _amounts(
    pool: tuple[str, str], counter_set: str, counters: Mapping[str, Any] | None
) -> Iterator[tuple[Counter, Fraction]]:
    for name, holder in (counters or {}).items():
        yield (*pool, counter_set, name), quantity.parse(holder["value"]).value


def _reaches(where: Mapping[str, Any], node_name: str, labels: Mapping[str, str]) -> bool:
    if where.get("nodeName"):
        return bool(where["nodeName"] == node_name)
    terms = (where.get("nodeSelector") or {}).get("nodeSelectorTerms") or ()
    return bool(where.get("allNodes")) or any(NodeSelectorTerm(term).matches(node_name, dict(labels)) for term in terms)


def _place(where: Mapping[str, Any]) -> Mapping[str, Any]:
    if where.get("nodeName"):
        return of_node(where["nodeName"])
    return where.get("nodeSelector") or _ANY_NODE


def of_node(name: str) -> Object:
    """Return the NodeSelector of one node."""
    return {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]}
