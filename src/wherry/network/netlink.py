"""The few rtnetlink messages of pod networking (``linux/rtnetlink.h``), sent in batches.

pyroute2 speaks all of netlink, but importing it takes 0.4 s and 27 MB in a process that must be ready within a second
(``docs/adr/0005-routed-pods.md``).
"""

import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

Address = IPv4Address | IPv6Address

_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _NEWNEIGH = 16, 17, 20, 21, 24, 28
_ERROR = 2
_UP = 0x1

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 1, 3, 4, 18, 26, 28
_IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 31, 32
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_INET6_ADDR_GEN_MODE, _GEN_MODE_NONE = 8, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL = 1, 2, 3
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_NDA_DST, _NDA_LLADDR = 1, 2
_TABLE_MAIN, _PROTO_STATIC, _UNICAST = 254, 4, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_ONLINK = 0x4
_PERMANENT = 0x80
_NESTED = 0x8000


class Message(NamedTuple):
    """One request: netlink type, flags besides request and acknowledgement, payload."""

    type: int
    flags: int
    payload: bytes


class Netlink:
    """A route netlink socket in the network namespace that the calling thread was in when it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def execute(self, messages: Sequence[Message]) -> None:
        """Send `messages` in one call and wait for every acknowledgement; blocks for about a millisecond.

        The kernel carries out all of them in order, also after one failed. Raises OSError of the first that failed.
        """
        packets = []
        for message in messages:
            self._sequence += 1
            flags = message.flags | _REQUEST | _ACK
            packets.append(struct.pack("=IHHII", 16 + len(message.payload), message.type, flags, self._sequence, 0))
            packets.append(message.payload)
        self._socket.send(b"".join(packets))
        failed, left = 0, len(messages)
        while left:
            data = self._socket.recv(65536)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == _ERROR:
                    failed = failed or -struct.unpack_from("=i", data, 16)[0]
                    left -= 1
                data = data[(length + 3) & ~3 :]
        if failed:
            raise OSError(failed, os.strerror(failed))

    def close(self) -> None:
        """Close the socket, which lets go of the namespace."""
        self._socket.close()


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + b"\0" * (-length % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def add_veth(
    name: str, mac: bytes, *, mtu: int, peer: str, peer_mac: bytes, peer_index: int, peer_namespace: int
) -> Message:
    """Make a veth pair whose `peer` gets the interface index `peer_index` in the namespace of that file descriptor."""
    queues = _number(_IFLA_NUM_TX_QUEUES, 1) + _number(_IFLA_NUM_RX_QUEUES, 1)
    other = (
        _link(peer_index)
        + _text(_IFLA_IFNAME, peer)
        + _attribute(_IFLA_ADDRESS, peer_mac)
        + _number(_IFLA_MTU, mtu)
        + _number(_IFLA_NET_NS_FD, peer_namespace)
        + queues
    )
    info = _text(_INFO_KIND, "veth") + _attribute(_INFO_DATA | _NESTED, _attribute(_VETH_PEER | _NESTED, other))
    body = (
        _link()
        + _text(_IFLA_IFNAME, name)
        + _attribute(_IFLA_ADDRESS, mac)
        + _number(_IFLA_MTU, mtu)
        + queues
        + _attribute(_IFLA_LINKINFO | _NESTED, info)
    )
    return Message(_NEWLINK, _CREATE | _EXCLUSIVE, body)


def set_up(index: int) -> Message:
    """Bring a link up."""
    return Message(_NEWLINK, 0, _link(index, _UP, _UP))


def without_link_local(index: int) -> Message:
    """Let a link that is still down get no IPv6 link-local address, and so no duplicate address detection."""
    family = _attribute(socket.AF_INET6 | _NESTED, _attribute(_INET6_ADDR_GEN_MODE, bytes([_GEN_MODE_NONE])))
    return Message(_NEWLINK, 0, _link(index) + _attribute(_IFLA_AF_SPEC | _NESTED, family))


def delete_link(name: str) -> Message:
    """Remove a link by its name."""
    return Message(_DELLINK, 0, _link() + _text(_IFLA_IFNAME, name))


def add_address(index: int, address: Address, *, prefix: int, label: str = "") -> Message:
    """Give a link an address; the same address again replaces itself."""
    return Message(_NEWADDR, _CREATE | _REPLACE, _address(index, address, prefix, label))


def delete_address(index: int, address: Address, *, prefix: int) -> Message:
    """Take an address from a link."""
    return Message(_DELADDR, 0, _address(index, address, prefix, ""))


def _address(index: int, address: Address, prefix: int, label: str) -> bytes:
    body = struct.pack("=BBBBi", _family(address), prefix, 0, _SCOPE_UNIVERSE, index)
    body += _attribute(_IFA_LOCAL, address.packed) + _attribute(_IFA_ADDRESS, address.packed)
    return body + (_text(_IFA_LABEL, label) if label else b"")


def add_route(
    index: int, destination: Address | None, *, gateway: Address | None = None, source: Address | None = None
) -> Message:
    """Route to one address (None: the default route) over a link; a `gateway` is reached directly (onlink)."""
    known = destination or gateway
    assert known is not None
    prefix = destination.max_prefixlen if destination else 0
    scope = _SCOPE_UNIVERSE if gateway else _SCOPE_LINK
    flags = _ONLINK if gateway else 0
    body = struct.pack("=BBBBBBBBI", _family(known), prefix, 0, 0, _TABLE_MAIN, _PROTO_STATIC, scope, _UNICAST, flags)
    body += _number(_RTA_OIF, index)
    for kind, value in ((_RTA_DST, destination), (_RTA_GATEWAY, gateway), (_RTA_PREFSRC, source)):
        if value is not None:
            body += _attribute(kind, value.packed)
    return Message(_NEWROUTE, _CREATE | _REPLACE, body)


def add_neighbour(index: int, address: Address, mac: bytes) -> Message:
    """Pin the hardware address of a neighbour, so that nobody asks for it."""
    body = struct.pack("=BxxxiHBB", _family(address), index, _PERMANENT, 0, 0)
    return Message(
        _NEWNEIGH, _CREATE | _REPLACE, body + _attribute(_NDA_DST, address.packed) + _attribute(_NDA_LLADDR, mac)
    )
