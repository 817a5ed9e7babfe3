"""Which pod addresses of a range are in use."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from wherry.network.protocol import NetworkError


class PoolExhausted(NetworkError):
    """Every address of the range is in use."""


class AddressPool:
    """The addresses of one IPv4 range; the first is the gateway's.

    Addresses are given in turn, so that one which was just freed is the last to be used again: connections that peers
    still hold to the old pod do not reach a new one.
    """

    def __init__(self, cidr: IPv4Network, used: Iterable[IPv4Address] = ()) -> None:
        self.cidr = cidr
        self.gateway = cidr.network_address + 1
        self._first = int(cidr.network_address) + 2
        self._last = int(cidr.broadcast_address) - 1
        self._used = {int(address) for address in used}
        self._next = max((number + 1 for number in self._used), default=self._first)

    def allocate(self) -> IPv4Address:
        """Return a free address and mark it used. Raises PoolExhausted."""
        size = self._last - self._first + 1
        for step in range(size):
            number = self._first + (self._next - self._first + step) % size
            if number not in self._used:
                self._used.add(number)
                self._next = number + 1
                return IPv4Address(number)
        raise PoolExhausted(f"no pod address is free in {self.cidr}")

    def release(self, address: IPv4Address) -> None:
        """Free an address; nothing happens when it is free."""
        self._used.discard(int(address))
