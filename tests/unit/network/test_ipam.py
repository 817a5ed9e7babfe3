from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.network.ipam import AddressPool, PoolExhausted

CIDR = IPv4Network("10.244.0.0/29")


def test_gives_every_host_address_but_the_gateway_once_then_is_exhausted() -> None:
    pool = AddressPool(CIDR)
    given_out = [pool.allocate() for _ in range(5)]
    assert given_out == [IPv4Address("10.244.0.0") + n for n in range(2, 7)]
    with pytest.raises(PoolExhausted):
        pool.allocate()


def test_a_freed_address_is_the_last_to_be_used_again() -> None:
    pool = AddressPool(CIDR)
    first = pool.allocate()
    pool.release(first)
    assert [pool.allocate() for _ in range(5)][-1] == first


@given(st.lists(st.booleans(), max_size=60), st.sets(st.integers(2, 6)))
def test_no_address_is_in_use_twice(steps: list[bool], adopted: set[int]) -> None:
    used = {CIDR.network_address + n for n in adopted}
    pool = AddressPool(CIDR, used)
    for allocate in steps:
        if allocate:
            try:
                address = pool.allocate()
            except PoolExhausted:
                assert len(used) == 5
                continue
            assert address not in used
            used.add(address)
        elif used:
            pool.release(used.pop())
