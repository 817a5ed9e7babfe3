"""Asks the host's resolvers, and remembers what they said."""

import asyncio
import logging
import os
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from dnslib import EDNS0, QTYPE, RCODE, DNSError, DNSHeader, DNSQuestion, DNSRecord

from wherry.util import clock

log = logging.getLogger(__name__)

_TIMEOUT = 2.0
_ROUNDS = 2
_PATIENCE = 5.0
"""Seconds for which one question is asked of all resolvers; a client that waits longer asks again itself."""
_ENTRIES = 10_000
_LONGEST = 30
_FAILED = 5
_UDP_SIZE = 1232
_RELOAD = 5.0


class Upstreams:
    """The name servers of a ``resolv.conf``, read again when the file changes; `exclude` are our own addresses."""

    def __init__(self, path: str | Path = "/etc/resolv.conf", *, exclude: Sequence[str] = ()) -> None:
        self._path = Path(path)
        self._exclude = frozenset(exclude)
        self._checked = float("-inf")
        self._stamp = 0
        self._servers: list[str] = []

    def servers(self) -> list[str]:
        """Return the addresses, in the file's order; empty when there is no such file."""
        if clock.monotonic() - self._checked >= _RELOAD:
            self._checked = clock.monotonic()
            try:
                stamp = os.stat(self._path).st_mtime_ns
                if stamp != self._stamp:
                    self._stamp, self._servers = stamp, self._parse(self._path.read_text())
            except OSError:
                self._stamp, self._servers = 0, []
        return self._servers

    def _parse(self, text: str) -> list[str]:
        lines = (line.split() for line in text.splitlines())
        found = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
        return [server for server in found if server not in self._exclude]


class Forwarder:
    """Answers questions that are not the cluster's. One question is asked once however many clients wait for it."""

    def __init__(self, upstreams: Upstreams, *, port: int = 53) -> None:
        self._upstreams = upstreams
        self._port = port
        self._cache: OrderedDict[tuple[str, int, int], tuple[float, float, DNSRecord]] = OrderedDict()
        self._asked: dict[tuple[str, int, int], asyncio.Future[DNSRecord | None]] = {}

    async def resolve(self, question: DNSQuestion) -> DNSRecord | None:
        """Return a response whose times to live are what is left of them, None when no resolver answered.

        It is shared: copy its records into a response of your own (`answer`).
        """
        key = (str(question.qname).lower(), question.qtype, question.qclass)
        cached = self._cache.get(key)
        if cached is not None and cached[1] > clock.monotonic():
            self._cache.move_to_end(key)
            return _aged(cached[2], int(clock.monotonic() - cached[0]))
        if (asked := self._asked.get(key)) is not None:
            return await asyncio.shield(asked)
        self._asked[key] = asked = asyncio.get_running_loop().create_future()
        response: DNSRecord | None = None
        try:
            response = await self._ask(question)
            if response is not None:
                self._remember(key, response)
        finally:
            del self._asked[key]
            asked.set_result(response)
        return response

    def _remember(self, key: tuple[str, int, int], response: DNSRecord) -> None:
        if response.header.rcode not in (RCODE.NOERROR, RCODE.NXDOMAIN):
            return
        times = [record.ttl for record in response.rr] or [
            min(record.ttl, record.rdata.times[4]) for record in response.auth if record.rtype == QTYPE.SOA
        ]
        lifetime = min([*times, _LONGEST]) if times else _FAILED
        now = clock.monotonic()
        self._cache[key] = (now, now + lifetime, response)
        if len(self._cache) > _ENTRIES:
            self._cache.popitem(last=False)

    async def _ask(self, question: DNSQuestion) -> DNSRecord | None:
        end = clock.monotonic() + _PATIENCE
        failure: DNSRecord | None = None
        for _ in range(_ROUNDS):
            for server in self._upstreams.servers():
                if (left := end - clock.monotonic()) <= 0:
                    return failure
                query = DNSRecord(DNSHeader(id=secrets.randbits(16), rd=1), q=question)
                query.add_ar(EDNS0(udp_len=_UDP_SIZE))
                try:
                    response = await self._exchange(server, query, min(_TIMEOUT, left))
                except (OSError, TimeoutError, DNSError) as error:
                    log.debug("resolver %s: %r", server, error)
                    continue
                if response.header.rcode in (RCODE.NOERROR, RCODE.NXDOMAIN):
                    return response
                failure = response
            if failure is not None:
                break
        return failure

    async def _exchange(self, server: str, query: DNSRecord, seconds: float) -> DNSRecord:
        packet = query.pack()
        async with asyncio.timeout(seconds):
            response = DNSRecord.parse(await _over_udp(server, self._port, packet))
            if response.header.tc:
                response = DNSRecord.parse(await _over_tcp(server, self._port, packet))
        if response.q.qname != query.q.qname or response.q.qtype != query.q.qtype:
            raise DNSError("the response is to another question")
        return response


class _Answer(asyncio.DatagramProtocol):
    """Waits for the datagram with the right number; the socket is connected, so it is from the right server."""

    def __init__(self, number: bytes) -> None:
        self.packet: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._number = number

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if data[:2] == self._number and not self.packet.done():
            self.packet.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.packet.done():
            self.packet.set_exception(exc)


async def _over_udp(server: str, port: int, packet: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Answer(packet[:2]), remote_addr=(server, port))
    try:
        transport.sendto(packet)
        return await protocol.packet
    finally:
        transport.close()


async def _over_tcp(server: str, port: int, packet: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, port)
    try:
        writer.write(len(packet).to_bytes(2, "big") + packet)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    except asyncio.IncompleteReadError as error:
        raise OSError("the resolver closed the connection") from error
    finally:
        writer.close()


def _aged(response: DNSRecord, seconds: int) -> DNSRecord:
    """Return a copy with times to live reduced; records of a cached response are never changed."""
    copy = DNSRecord.parse(response.pack())
    for record in (*copy.rr, *copy.auth, *copy.ar):
        if record.rtype != QTYPE.OPT:
            record.ttl = max(record.ttl - seconds, 0)
    return copy
