"""The ServiceCIDR controller: says which ranges of Service addresses are ready, and keeps those in use.

Watches ServiceCIDRs and IPAddresses. Writes the finalizer and the condition Ready of ServiceCIDRs. Guarantees that a
range which is being deleted stays while an address of it is in use that no other range has, and for ten seconds after
that, so that nobody takes another one from it meanwhile.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import IPADDRESSES, SERVICECIDRS
from wherry.controllers.controller import Controller
from wherry.util import clock

_FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_GRACE = 10.0
_READY = {"type": "Ready", "status": "True", "reason": "", "message": "Kubernetes Service CIDR is ready"}
_IN_USE = {
    "type": "Ready",
    "status": "False",
    "reason": "Terminating",
    "message": (
        "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
    ),
}


def _networks(cidr: Object) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text) for text in cidr["spec"].get("cidrs") or ()]


def contains(cidr: Object, address: str) -> bool:
    """Tell whether an address is of a range."""
    return any(ipaddress.ip_address(address) in network for network in _networks(cidr))


def is_needed(cidr: Object, others: Sequence[Object], addresses: Iterable[str]) -> bool:
    """Tell whether one of the addresses in use is of this range and of no other one that stays."""
    staying = [other for other in others if not meta.is_deleting(other)]
    own = (address for address in addresses if contains(cidr, address))
    return any(not any(contains(other, address) for other in staying) for address in own)


class ServiceCIDRController(Controller):
    name = "service-cidr-controller"
    account = "service-cidrs-controller"
    workers = 1

    def register(self) -> None:
        self._cidrs = self.watch(SERVICECIDRS, self._overlapping)
        self._addresses = self.informer(IPADDRESSES)
        self._addresses.add_handler(on_delete=self._freed)

    def _overlapping(self, cidr: Object) -> Iterable[str]:
        yield meta.name(cidr)
        networks = _networks(cidr)
        for other in self._cidrs.lister.list():
            if any(mine.version == its.version and mine.overlaps(its) for mine in networks for its in _networks(other)):
                yield meta.name(other)

    def _freed(self, address: Object) -> None:
        for cidr in self._cidrs.lister.list():
            if meta.is_deleting(cidr) and contains(cidr, meta.name(address)):
                self.enqueue(cidr)

    async def reconcile(self, key: str) -> float | None:
        cidr = self._cidrs.lister.get(key)
        if cidr is None:
            return None
        finalizers = cidr["metadata"].get("finalizers") or []
        try:
            if meta.is_deleting(cidr):
                return await self._release(key, cidr, finalizers)
            if _FINALIZER not in finalizers:
                cidr = await self._write_finalizers(key, cidr, [*finalizers, _FINALIZER])
            await self._write_condition(key, cidr, _READY)
        except errors.NotFound:
            return None
        return None

    async def _release(self, key: str, cidr: Object, finalizers: list[str]) -> float | None:
        if _FINALIZER not in finalizers:
            return None
        others = [other for other in self._cidrs.lister.list() if meta.uid(other) != meta.uid(cidr)]
        if is_needed(cidr, others, (meta.name(address) for address in self._addresses.lister.list())):
            await self._write_condition(key, cidr, _IN_USE)
            return None
        left = _GRACE - clock.since(cidr["metadata"]["deletionTimestamp"]).total_seconds()
        if left > 0:
            return left
        await self._write_finalizers(key, cidr, [name for name in finalizers if name != _FINALIZER])
        return None

    async def _write_finalizers(self, key: str, cidr: Object, finalizers: list[str]) -> Object:
        md = {"finalizers": finalizers or None, "resourceVersion": cidr["metadata"]["resourceVersion"]}
        return self.wrote(key, SERVICECIDRS, await self.client.patch(SERVICECIDRS, key, {"metadata": md}))

    async def _write_condition(self, key: str, cidr: Object, condition: Object) -> None:
        before = meta.condition(cidr, "Ready") or {}
        if all(before.get(name, "") == value for name, value in condition.items()):
            return
        status = cidr.get("status") or {}
        conditions = meta.with_condition(status.get("conditions") or (), condition, now=clock.timestamp())
        changed = {**cidr, "status": {**status, "conditions": conditions}}
        self.wrote(key, SERVICECIDRS, await self.client.update_status(SERVICECIDRS, changed))
