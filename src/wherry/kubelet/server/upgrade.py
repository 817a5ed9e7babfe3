"""Taking a connection over from the HTTP server, to speak SPDY on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from aiohttp import hdrs, web

from wherry.kubelet.server.spdy import SpdyConnection, SpdyError
from wherry.util.tasks import Scope

PROTOCOL_HEADER = "X-Stream-Protocol-Version"
_CHUNK = 64 * 1024


class Upgraded(web.StreamResponse):
    """Stands for an answer that was given past the HTTP server."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to send."""
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


def choose(request: web.Request, ours: Sequence[str]) -> str:
    """Return the first of the client's protocols that is ours; a client that names none means the oldest.

    Raises HTTPBadRequest when the request is no upgrade, HTTPForbidden when no protocol fits.
    """
    if request.headers.get(hdrs.UPGRADE, "").lower() != "spdy/3.1":
        raise web.HTTPBadRequest(text="unable to upgrade: missing upgrade headers in request")
    theirs = [p.strip() for value in request.headers.getall(PROTOCOL_HEADER, []) for p in value.split(",")]
    if not theirs:
        return ours[-1]
    for protocol in theirs:
        if protocol in ours:
            return protocol
    text = f"unable to upgrade: unable to negotiate protocol: client supports {theirs}, server accepts {list(ours)}"
    raise web.HTTPForbidden(text=text)


@contextlib.asynccontextmanager
async def spdy(request: web.Request, protocol: str) -> AsyncIterator[SpdyConnection]:
    """Answer 101 and speak SPDY with the client during the block."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    loop = asyncio.get_running_loop()
    old = transport.get_protocol()
    reader = asyncio.StreamReader()
    pipe = asyncio.StreamReaderProtocol(reader)
    transport.set_protocol(pipe)
    pipe.connection_made(transport)
    writer = asyncio.StreamWriter(transport, pipe, reader, loop)
    if request.content.total_bytes:
        reader.feed_data(request.content.read_nowait())
    with contextlib.suppress(RuntimeError):
        transport.resume_reading()
    head = (
        f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{PROTOCOL_HEADER}: {protocol}"
    )
    writer.write(f"{head}\r\n\r\n".encode())

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    connection = SpdyConnection(send)

    async def receive() -> None:
        try:
            while data := await reader.read(_CHUNK):
                await connection.feed(data)
        except (ConnectionError, SpdyError):
            pass  # the end of the connection, whatever the reason
        finally:
            connection.end()

    try:
        async with Scope() as scope:
            scope.spawn(receive(), guard=True)
            with contextlib.suppress(ConnectionError):
                yield connection
                await writer.drain()
    finally:
        writer.close()
        old.connection_lost(None)
