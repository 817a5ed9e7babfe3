"""Reading and removing tracked connections (``linux/netfilter/nfnetlink_conntrack.h``)."""

import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE_ORIGINAL, _TUPLE_REPLY, _CTA_ZONE = 1, 2, 18
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_SOURCE, _IP_DESTINATION = 1, 2
_PROTO_NUMBER, _PROTO_SOURCE, _PROTO_DESTINATION = 1, 2, 3


class Flow(NamedTuple):
    """One tracked IPv4 flow: where its first packet was sent, and where answers come from."""

    protocol: int
    destination: tuple[str, int]
    answering: tuple[str, int]


def delete_flows(protocol: int, chosen: Callable[[Flow], bool]) -> int:
    """Remove the IPv4 flows of an IP protocol that `chosen` picks and return their number; blocks."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as sock:
        sock.bind((0, 0))
        sock.send(_request(_GET, _REQUEST | _DUMP, b""))
        doomed = [key for flow, key in _flows(sock) if flow.protocol == protocol and chosen(flow)]
        for key in doomed:
            sock.send(_request(_DELETE, _REQUEST | _ACK, key))
            sock.recv(65536)  # a flow that ended meanwhile is an error of no interest
    return len(doomed)


def _request(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 20 + len(body), kind, flags, 1, 0) + struct.pack("=BBH", socket.AF_INET, 0, 0) + body


def _flows(sock: socket.socket) -> Iterator[tuple[Flow, bytes]]:
    """Yield each flow with the attributes that name it in a deletion."""
    while True:
        data = sock.recv(262144)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind in (_DONE, _ERROR):
                return
            attributes = _attributes(data[20:length])
            original, reply = attributes.get(_TUPLE_ORIGINAL), attributes.get(_TUPLE_REPLY)
            if original is not None and reply is not None:
                protocol, _, destination = _tuple(original)
                _, answering, _ = _tuple(reply)
                key = struct.pack("=HH", 4 + len(original), _TUPLE_ORIGINAL | 0x8000) + original
                if zone := attributes.get(_CTA_ZONE):
                    key += struct.pack("=HH", 4 + len(zone), _CTA_ZONE) + zone + b"\0" * (-len(zone) % 4)
                yield Flow(protocol, destination, answering), key
            data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def _tuple(data: bytes) -> tuple[int, tuple[str, int], tuple[str, int]]:
    parts = _attributes(data)
    addresses, proto = _attributes(parts[_TUPLE_IP]), _attributes(parts[_TUPLE_PROTO])
    ends = []
    for address, port in ((_IP_SOURCE, _PROTO_SOURCE), (_IP_DESTINATION, _PROTO_DESTINATION)):
        number = int.from_bytes(proto.get(port, b"\0\0"), "big")
        ends.append((str(IPv4Address(addresses[address])), number))
    return proto[_PROTO_NUMBER][0], ends[0], ends[1]
