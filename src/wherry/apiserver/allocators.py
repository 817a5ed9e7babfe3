"""Allocation of Service addresses and node ports.

What is taken is known from the stored Services (the caller says so once) and from allocations that are under way.
"""

import ipaddress
import random
from collections.abc import Iterable


class AllocationError(Exception):
    """The value cannot be had; the text is the reason in Kubernetes' words."""


class AddressAllocator:
    """Addresses of one CIDR. Values given by hand come out of the lower band first, so automatic ones avoid it.

    `taken` are the numbers of the addresses in use, which allocators of one family may share.
    """

    def __init__(self, cidr: str, taken: set[int] | None = None) -> None:
        self.network = ipaddress.ip_network(cidr)
        self._first = int(self.network.network_address)
        size = self.network.num_addresses
        # Network address, and of IPv4 the broadcast address, are no addresses of Services.
        self._end = self._first + min(size - (1 if self.network.version == 4 else 0), 1 << 16)
        band = min(max(16, size // 16), 256)
        self._dynamic = self._first + (band if size > 2 * band else 1)
        self._taken: set[int] = set() if taken is None else taken

    @property
    def family(self) -> str:
        """``IPv4`` or ``IPv6``."""
        return f"IPv{self.network.version}"

    @property
    def allocated(self) -> int:
        """How many addresses of the range are taken."""
        return sum(self._first < number < self._end for number in self._taken)

    @property
    def available(self) -> int:
        """How many addresses of the range are free."""
        return self._end - self._first - 1 - self.allocated

    def take(self, address: str) -> None:
        """Take one address. Raises AllocationError."""
        ip = ipaddress.ip_address(address)
        if ip not in self.network:
            raise AllocationError("the provided network does not match the current range")
        number = int(ip)
        if not self._first < number < self._end:
            raise AllocationError("the provided IP is not in the valid range")
        if number in self._taken:
            raise AllocationError("provided IP is already allocated")
        self._taken.add(number)

    def mark(self, addresses: Iterable[str]) -> None:
        """Take addresses that stored Services have, whatever they are."""
        self._taken.update(int(ipaddress.ip_address(a)) for a in addresses if a and a != "None")

    def next(self) -> str:
        """Take a free address, of the upper band while there is one. Raises AllocationError."""
        for low, high in ((self._dynamic, self._end), (self._first + 1, self._dynamic)):
            number = _free(self._taken, low, high)
            if number is not None:
                self._taken.add(number)
                return str(type(self.network.network_address)(number))
        raise AllocationError("range is full")

    def release(self, address: str) -> None:
        """Give an address back."""
        if address and address != "None":
            self._taken.discard(int(ipaddress.ip_address(address)))


class PortAllocator:
    """Node ports of a range, both ends included."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        size = last - first + 1
        self._dynamic = first + (min(max(16, size // 32), 128) if size > 32 else 0)
        self._taken: set[int] = set()

    @property
    def allocated(self) -> int:
        """How many ports of the range are taken."""
        return sum(self.first <= port <= self.last for port in self._taken)

    @property
    def available(self) -> int:
        """How many ports of the range are free."""
        return self.last - self.first + 1 - self.allocated

    def take(self, port: int) -> None:
        """Take one port. Raises AllocationError."""
        if not self.first <= port <= self.last:
            raise AllocationError(
                f"provided port is not in the valid range. The range of valid ports is {self.first}-{self.last}"
            )
        if port in self._taken:
            raise AllocationError("provided port is already allocated")
        self._taken.add(port)

    def mark(self, ports: Iterable[int]) -> None:
        """Take ports that stored Services have."""
        self._taken.update(ports)

    def next(self) -> int:
        """Take a free port, of the upper band while there is one. Raises AllocationError."""
        for low, high in ((self._dynamic, self.last + 1), (self.first, self._dynamic)):
            port = _free(self._taken, low, high)
            if port is not None:
                self._taken.add(port)
                return port
        raise AllocationError("range is full")

    def release(self, port: int) -> None:
        """Give a port back."""
        self._taken.discard(port)


def _free(taken: set[int], low: int, high: int) -> int | None:
    """Return a free number of [low, high) from a random place on, None when there is none."""
    if low >= high:
        return None
    start = random.randrange(low, high)
    for number in range(start, high):
        if number not in taken:
            return number
    for number in range(low, start):
        if number not in taken:
            return number
    return None
