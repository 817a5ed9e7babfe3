"""Allocation of addresses and ports."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.allocators import AddressAllocator, AllocationError, PortAllocator


@given(st.integers(min_value=1, max_value=14))
def test_every_address_is_given_once_and_then_none(count: int) -> None:
    allocator = AddressAllocator("10.0.0.0/28")
    given_out = [allocator.next() for _ in range(count)]
    assert len(set(given_out)) == count
    assert all(ipaddress.ip_address(a) in allocator.network for a in given_out)
    for _ in range(14 - count):
        allocator.next()
    with pytest.raises(AllocationError, match="range is full"):
        allocator.next()
    allocator.release(given_out[0])
    assert allocator.next() == given_out[0]


def test_automatic_addresses_leave_the_lower_band_to_chosen_ones() -> None:
    allocator = AddressAllocator("10.96.0.0/16")
    low = ipaddress.ip_address("10.96.1.0")
    assert all(ipaddress.ip_address(allocator.next()) >= low for _ in range(50))


@pytest.mark.parametrize(
    ("port", "why"), [(80, "is not in the valid range"), (30001, "provided port is already allocated")]
)
def test_a_port_that_cannot_be_had(port: int, why: str) -> None:
    allocator = PortAllocator(30000, 30010)
    allocator.take(30001)
    with pytest.raises(AllocationError, match=why):
        allocator.take(port)
