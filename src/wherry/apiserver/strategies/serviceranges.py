"""The ranges that Services get their addresses from: those of the server's options and of ServiceCIDRs (KEP-1880)."""

import ipaddress
from collections.abc import Iterator

from wherry.api import meta
from wherry.api.resources import SERVICECIDRS
from wherry.apiserver.allocators import AddressAllocator, AllocationError
from wherry.apiserver.registry import Registry


class ServiceRanges:
    """Addresses of all ranges that may be used now; one that is being deleted gives no more.

    The ranges of the options count until a ServiceCIDR says otherwise of them.
    """

    def __init__(self, registry: Registry, cidrs: list[str]) -> None:
        self._registry = registry
        self._options = [str(ipaddress.ip_network(cidr)) for cidr in cidrs]
        self._taken: dict[str, set[int]] = {"IPv4": set(), "IPv6": set()}
        self._allocators: list[AddressAllocator] = []
        self._version = -1
        self.families = [family_of(cidr.partition("/")[0]) for cidr in self._options]

    def mark(self, ip: str) -> None:
        """Note an address that a stored Service has, of whatever range."""
        self._taken[family_of(ip)].add(int(ipaddress.ip_address(ip)))

    def release(self, ip: str) -> None:
        """Give an address back."""
        self._taken[family_of(ip)].discard(int(ipaddress.ip_address(ip)))

    def take(self, ip: str, family: str) -> None:
        """Take one address, of the smallest range that has it. Raises AllocationError."""
        found = list(self._of(family))
        holding = [allocator for allocator in found if ipaddress.ip_address(ip) in allocator.network]
        if not found:
            raise AllocationError(_NONE)
        max(holding or found[:1], key=lambda allocator: allocator.network.prefixlen).take(ip)

    def next(self, family: str) -> str:
        """Take a free address of any range. Raises AllocationError."""
        failure = AllocationError(_NONE)
        for allocator in self._of(family):
            try:
                return allocator.next()
            except AllocationError as error:
                failure = error
        raise failure

    def all(self) -> list[AddressAllocator]:
        """Return what gives addresses now, one for each range."""
        version = self._registry.version(SERVICECIDRS)
        if version != self._version:
            self._allocators = [self._made(cidr) for cidr in self._usable()]
            self._version = version
        return self._allocators

    def _of(self, family: str) -> Iterator[AddressAllocator]:
        return (allocator for allocator in self.all() if allocator.family == family)

    def _made(self, cidr: str) -> AddressAllocator:
        return AddressAllocator(cidr, self._taken[family_of(cidr.partition("/")[0])])

    def _usable(self) -> list[str]:
        """Return the ranges to give from, those of the options first, then the oldest."""
        objects = sorted(
            self._registry.list(SERVICECIDRS),
            key=lambda found: (found["metadata"].get("creationTimestamp", ""), meta.name(found)),
        )
        said: dict[str, bool] = {}
        for found in objects:
            ready = meta.condition(found, "Ready")
            usable = not meta.is_deleting(found) and ready is not None and ready["status"] == "True"
            # The ranges of the options work before any controller has looked at their object.
            usable = usable or (not meta.is_deleting(found) and ready is None and self._is_own(found))
            for cidr in found["spec"].get("cidrs") or ():
                text = str(ipaddress.ip_network(cidr))
                said[text] = said.get(text, False) or usable
        own = [cidr for cidr in self._options if said.pop(cidr, True)]
        return [*own, *(cidr for cidr, usable in said.items() if usable)]

    def _is_own(self, found: meta.Object) -> bool:
        return all(str(ipaddress.ip_network(cidr)) in self._options for cidr in found["spec"].get("cidrs") or ())


def family_of(ip: str) -> str:
    """Return ``IPv4`` or ``IPv6``."""
    return f"IPv{ipaddress.ip_address(ip).version}"


_NONE = "no ServiceCIDR available"
