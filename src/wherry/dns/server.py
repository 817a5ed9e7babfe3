"""Listens on UDP and TCP."""

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import cast

from dnslib import EDNS0, QTYPE, RCODE, DNSError, DNSQuestion, DNSRecord

from wherry.dns.answer import alias_of, local_answer
from wherry.dns.forward import Forwarder
from wherry.dns.names import ClusterNames
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_PLAIN_UDP_SIZE = 512
_LARGEST_UDP_SIZE = 1232  # fits every path unfragmented
_TCP_IDLE = 10.0
_FORWARDED_AT_ONCE = 1000
_ALIASES = 8


class DnsServer:
    """The DNS server of one node: the cluster's names from caches, others from `forwarder`.

    `started` is set once `run` listens and knows the cluster's names; before, it says that it cannot answer for them,
    and forwards others.
    """

    def __init__(self, names: ClusterNames, forwarder: Forwarder) -> None:
        self._names = names
        self._forwarder = forwarder
        self._forwarding = 0
        self.started = asyncio.Event()

    async def run(self, address: str, port: int = 53) -> None:
        """Serve on one address until cancelled; a socket that is lost is opened again.

        Raises OSError when the address cannot be bound at first.
        """
        backoff = Backoff(0.1, 10.0)
        bound = asyncio.Event()
        while True:
            try:
                await self._serve(address, port, bound)
            except OSError as error:
                if not bound.is_set():
                    raise
                log.warning("the DNS server has lost %s:%d: %s", address, port, error)
            await clock.sleep(backoff.next())

    async def _serve(self, address: str, port: int, bound: asyncio.Event) -> None:
        """Serve until a socket is lost."""
        loop = asyncio.get_running_loop()
        async with Scope() as scope, AsyncExitStack() as stack:
            lost: asyncio.Future[None] = loop.create_future()
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self, scope, lost), (address, port))
            stack.callback(transport.close)
            listener = await asyncio.start_server(
                lambda reader, writer: scope.spawn(self._connected(reader, writer), guard=True), address, port
            )
            stack.callback(listener.close)
            bound.set()
            await self._names.wait_synced()
            self.started.set()
            await lost

    def answer_nowait(self, query: DNSRecord) -> DNSRecord | None:
        """Return the response to a query that needs nobody else, None for one that `answer` must see."""
        if query.header.opcode != 0 or query.header.qr or len(query.questions) != 1:
            return _failure(query, RCODE.NOTIMP)
        response = local_answer(query, self._names)
        if response is not None and response.header.rcode == RCODE.NXDOMAIN and not self._names.synced:
            return _failure(query, RCODE.SERVFAIL)
        return None if response is None or alias_of(response) else response

    async def answer(self, query: DNSRecord) -> DNSRecord:
        """Return the response to any query."""
        response = self.answer_nowait(query)
        if response is not None:
            return response
        if self._forwarding >= _FORWARDED_AT_ONCE:
            return _failure(query, RCODE.REFUSED)
        self._forwarding += 1
        try:
            return await self._answer_with_others(query)
        finally:
            self._forwarding -= 1

    async def _answer_with_others(self, query: DNSRecord) -> DNSRecord:
        """Forward, or follow the aliases of ExternalName Services, which may lead to the cluster's names again."""
        result = query.reply(ra=1, aa=0)
        asked = query
        for _ in range(_ALIASES):
            response = local_answer(asked, self._names)
            if response is None:
                response = await self._forwarder.resolve(asked.q)
            if response is None:
                result.header.rcode = RCODE.SERVFAIL
                return result
            result.add_answer(*response.rr)
            alias = alias_of(response)
            if alias is None:
                result.header.rcode = response.header.rcode
                result.add_auth(*response.auth)
                result.add_ar(*(record for record in response.ar if record.rtype != QTYPE.OPT))
                return result
            asked = DNSRecord(query.header, q=DNSQuestion(alias, query.q.qtype))
        result.header.rcode = RCODE.SERVFAIL
        return result

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    query = DNSRecord.parse(await reader.readexactly(length))
                packet = _packed(query, await self.answer(query), 65535)
                writer.write(len(packet).to_bytes(2, "big") + packet)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError, DNSError):
            pass  # the client left, or never spoke DNS
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    """Answers datagrams; `lost` is done when its socket is gone, unless that was asked for."""

    def __init__(self, server: DnsServer, scope: Scope, lost: asyncio.Future[None]) -> None:
        self._server = server
        self._scope = scope
        self._lost = lost
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own is not an instance of it

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(None)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        try:
            query = DNSRecord.parse(data)
            response = self._server.answer_nowait(query)
        except DNSError:
            return
        if response is not None:
            self._send(query, response, addr)
        else:
            self._scope.spawn(self._forwarded(query, addr), guard=True)

    async def _forwarded(self, query: DNSRecord, addr: tuple[str | object, int]) -> None:
        self._send(query, await self._server.answer(query), addr)

    def _send(self, query: DNSRecord, response: DNSRecord, addr: tuple[str | object, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(_packed(query, response, _udp_size(query)), addr)


def _udp_size(query: DNSRecord) -> int:
    for record in query.ar:
        if record.rtype == QTYPE.OPT:
            return max(_PLAIN_UDP_SIZE, min(record.edns_len, _LARGEST_UDP_SIZE))
    return _PLAIN_UDP_SIZE


def _packed(query: DNSRecord, response: DNSRecord, limit: int) -> bytes:
    """Encode; a response that is too long loses its records and tells the client to come back over TCP."""
    extended = any(record.rtype == QTYPE.OPT for record in query.ar)
    if extended:
        response.add_ar(EDNS0(udp_len=_LARGEST_UDP_SIZE))
    packet: bytes = response.pack()
    if len(packet) > limit:
        packet = response.truncate().pack()
    return packet


def _failure(query: DNSRecord, code: int) -> DNSRecord:
    response = query.reply(ra=1, aa=0)
    response.header.rcode = code
    return response
