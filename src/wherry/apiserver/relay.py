"""Passing a request on to another server: streams, WebSockets message by message, other upgrades byte by byte."""

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aiohttp import (
    BaseConnector,
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    TCPConnector,
    UnixConnector,
    WSMsgType,
    WSServerHandshakeError,
    hdrs,
    web,
)
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from multidict import CIMultiDict
from yarl import URL

from wherry.api.errors import InternalError, ServiceUnavailable, StatusError
from wherry.apiserver import messages, pouring
from wherry.apiserver.authn import websocket
from wherry.apiserver.feeds import Line
from wherry.apiserver.links import LinkRewriter, relocated

log = logging.getLogger(__name__)

_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "host",
        "authorization",
        "accept-encoding",
    }
)
_CHUNK = 1 << 16
_PIECE = 3 << 16  # what is larger, the allocator fetches from the kernel and gives back each time (util.interpreter)
_BUFFER = 1 << 19  # a stream is read ahead this far; less would stop and go with every record of TLS
_ERROR_TEXT = 50_000
_ADDED = (
    "accept",
    "accept-encoding",
    "content-type",
    "user-agent",
)  # by aiohttp; what a client did not say is not sent
_CONNECT = ClientTimeout(total=None, connect=30.0)


def _is_own(header: str) -> bool:
    """Tell whether a header is for this server alone, or one that only this server may set."""
    return header in _HOP or header.startswith(("x-remote-", "sec-websocket-"))


Check = Callable[[int, str], StatusError]


def unreachable_service(why: str) -> StatusError:
    """Return the error for a service, pod or node that cannot be connected to."""
    return ServiceUnavailable(f"error trying to reach service: {why}")


def unreachable_kubelet(why: str, message: str = "") -> StatusError:
    """Return the error for a kubelet that cannot be connected to; it has no reason."""
    error = InternalError(message or f"error dialing backend: {why}")
    error.status_reason = ""
    return error


def _why(error: Exception, url: URL) -> str:
    """Say why a connection failed as clients of upstream read it."""
    dialed = f"dial tcp {url.host}:{url.port}"
    if isinstance(error, TimeoutError):
        return f"{dialed}: i/o timeout"
    if isinstance(error, ClientConnectorError | OSError) and error.errno:
        return f"{dialed}: connect: {os.strerror(error.errno).lower()}"
    return str(error) or type(error).__name__


class _Framed(web.StreamResponse):
    """An answer whose body is in chunks before it is written here."""

    _length_check = False  # so that aiohttp frames nothing, as for its WebSockets

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Say that the body is in chunks."""
        self.headers[hdrs.TRANSFER_ENCODING] = "chunked"
        return await super().prepare(request)


class Relayed(web.StreamResponse):
    """Stands for an answer that has been written past aiohttp."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to send."""
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


@dataclass(frozen=True, slots=True)
class Near:
    """A server of this machine that listens on a Unix socket beside its port.

    It speaks plain HTTP there and asks nobody who he is: who may open the socket is trusted. So what streams through
    costs a third less, and a connection no handshake.
    """

    host: str
    port: int
    socket: Path

    def serves(self, url: URL) -> bool:
        """Tell whether `url` is this server, and its socket there."""
        return (url.host, url.port) == (self.host, self.port) and os.access(self.socket, os.W_OK)


class Relay:
    """Passes requests on. `context` is the TLS context for the other side, None for plain HTTP targets only; `near` is
    reached without TLS."""

    def __init__(
        self, context: ssl.SSLContext | None, *, resolver: AbstractResolver | None = None, near: Near | None = None
    ) -> None:
        self._context = context
        self._resolver = resolver
        self._near = near
        self._sessions: dict[bool, ClientSession] = {}

    def client(self, *, near: bool = False) -> ClientSession:
        """Return the session that requests are passed on with, to what is `near` or to all others."""
        session = self._sessions.get(near)
        if session is None or session.closed:
            connector: BaseConnector
            if near and self._near is not None:
                connector = UnixConnector(str(self._near.socket), limit=0)
            else:
                context = self._context if self._context is not None else True
                connector = TCPConnector(limit=0, ssl=context, resolver=self._resolver)
            session = self._sessions[near] = ClientSession(
                connector=connector,
                auto_decompress=False,
                skip_auto_headers=_ADDED,
                timeout=_CONNECT,
                read_bufsize=_BUFFER,
            )
        return session

    def _way(self, url: URL) -> tuple[ClientSession, URL]:
        """Return how to reach `url`, and what to call it on that way."""
        if self._near is not None and self._near.serves(url):
            return self.client(near=True), url.with_scheme("http")
        return self.client(), url

    async def close(self) -> None:
        """Release the connections."""
        for session in self._sessions.values():
            await session.close()

    async def pass_on(
        self,
        http: web.BaseRequest,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
        check: Check | None = None,
        unreachable: Callable[[str], StatusError] = unreachable_service,
        reads: bool = False,
    ) -> web.StreamResponse:
        """Relay `http` to `url` in whatever way it asks for; links in answers are to go on working below `prefix`.

        `check` makes an error of an answer that is none (its status and text). With `reads` the other side answers
        with a plain stream, also where the client asks for a WebSocket. Raises what `unreachable` makes of the reason
        when nobody is there.
        """
        upgrade = http.headers.get(hdrs.UPGRADE)
        try:
            if reads:
                if self._near is not None and _reads_chunks(http) and self._near.serves(url):
                    return await self._pour(self._near, http, url, check)
                return await self._stream(http, url, headers or {}, prefix, check)
            if websocket.is_websocket(http.headers):
                return await self._websocket(http, url, headers or {})
            if upgrade:
                return await self._raw(http, url)
            return await self._stream(http, url, headers or {}, prefix, check)
        except (ClientError, OSError, TimeoutError) as error:
            raise unreachable(_why(error, url)) from error

    async def _stream(
        self, http: web.BaseRequest, url: URL, extra: Mapping[str, str], prefix: str, check: Check | None
    ) -> web.StreamResponse:
        sent = _headers(http, extra)
        data = http.content if http.can_read_body else None
        client, way = self._way(url)
        asking = client.request(http.method, way, headers=sent, data=data, allow_redirects=False)
        async with asking as answer, _watching(http, answer.close):
            if check is not None and not 200 <= answer.status <= 206:
                text = await answer.content.read(_ERROR_TEXT)
                raise check(answer.status, text.decode(errors="replace"))
            if websocket.is_websocket(http.headers):
                return await messages.send_bytes(http, answer.content.iter_chunked(_PIECE))
            response = web.StreamResponse(status=answer.status)
            hosts = frozenset({url.raw_authority, http.host})
            links = LinkRewriter(prefix, hosts) if prefix and answer.content_type == "text/html" else None
            for name, value in answer.headers.items():
                lower = name.lower()
                if lower not in _HOP and not (lower == "content-length" and links is not None):
                    response.headers.add(name, relocated(value, prefix, hosts) if lower == "location" else value)
            await response.prepare(http)
            async with _breaking(http):
                async for chunk in answer.content.iter_chunked(_PIECE):
                    await response.write(chunk if links is None else links.feed(chunk))
                await response.write_eof(b"" if links is None else links.close())
            return response

    async def _pour(self, near: Near, http: web.BaseRequest, url: URL, check: Check | None) -> web.StreamResponse:
        """Pass a stream on with its framing: each byte is read, encrypted and written, and nothing else."""
        async with pouring.asking(near.socket, url) as answer, _watching(http, answer.close):
            if check is not None and not 200 <= answer.status <= 206:
                raise check(answer.status, (await answer.body(_ERROR_TEXT)).decode(errors="replace"))
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
            if not answer.chunked:
                return web.Response(status=answer.status, headers=kept, body=await answer.body())
            response = _Framed(status=answer.status, headers=kept)
            writer = await response.prepare(http)
            async with _breaking(http):
                poured = await answer.pour(http)
                if writer is not None:
                    writer.output_size += poured
            return response

    async def _websocket(self, http: web.BaseRequest, url: URL, extra: Mapping[str, str]) -> web.StreamResponse:
        protocols = websocket.subprotocols(http.headers)
        try:
            client, way = self._way(url)
            far = await client.ws_connect(
                way, protocols=protocols, headers=_headers(http, extra), max_msg_size=0, autoping=True
            )
        except WSServerHandshakeError as error:
            raise _refusal(error.status, error.message) from error
        chosen = (far.protocol,) if far.protocol else ()
        near = web.WebSocketResponse(protocols=chosen, max_msg_size=0)
        await near.prepare(http)
        try:
            async with asyncio.TaskGroup() as group:
                ends = asyncio.Event()
                for source, target in ((near, far), (far, near)):
                    group.create_task(_copy_messages(source, target, ends))
                await ends.wait()
                await far.close()
                await near.close()
        finally:
            await far.close()
        return near

    async def _raw(self, http: web.BaseRequest, url: URL) -> web.StreamResponse:
        if self._near is not None and self._near.serves(url):
            reader, writer = await asyncio.open_unix_connection(self._near.socket)
        else:
            context = self._context if url.scheme == "https" else None
            reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
        lines = [f"{http.method} {url.raw_path_qs} HTTP/1.1", f"Host: {url.host}:{url.port}"]
        for name, value in http.headers.items():
            if name.lower() not in _HOP or name.lower() in ("connection", "upgrade"):
                lines.append(f"{name}: {value}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        near = http.transport
        if near is None:
            writer.close()
            raise ConnectionResetError
        old = near.get_protocol()
        tunnel = _Tunnel(writer)
        near.set_protocol(tunnel)
        if http.content.total_bytes:
            writer.write(http.content.read_nowait())
        near.resume_reading()
        try:
            while chunk := await reader.read(_CHUNK):
                near.write(chunk)
                await tunnel.drain()
        except ConnectionError as error:
            log.debug("a tunnel broke: %s", error)
        finally:
            writer.close()
            near.close()
            old.connection_lost(None)
        return Relayed()


def _headers(http: web.BaseRequest, extra: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers to pass on: the client's that are not this server's own, and `extra` in place of any."""
    sent = CIMultiDict((k, v) for k, v in http.headers.items() if not _is_own(k.lower()))
    sent.update(extra)
    return sent


def _reads_chunks(http: web.BaseRequest) -> bool:
    """Tell whether a client asks for a stream as nearly all do."""
    return http.method == hdrs.METH_GET and http.version >= (1, 1) and not websocket.is_websocket(http.headers)


@contextlib.asynccontextmanager
async def _watching(http: web.BaseRequest, close: Callable[[], None]) -> AsyncIterator[None]:
    """Call `close` when the client leaves meanwhile: who waits for the other side alone would never know."""
    line = cast(Line, http.protocol)
    line.on_lost = close
    try:
        yield
    finally:
        line.on_lost = None


@contextlib.asynccontextmanager
async def _breaking(http: web.BaseRequest) -> AsyncIterator[None]:
    """Break off the client's answer, which has begun, where the other side's breaks off."""
    try:
        yield
    except (ClientError, OSError, ValueError) as error:
        log.debug("a stream broke: %s", error)
        if http.transport is not None:
            http.transport.abort()


async def _copy_messages(source: Any, target: Any, ends: asyncio.Event) -> None:
    try:
        async for message in source:
            if message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
    except (ConnectionError, RuntimeError) as error:
        log.debug("a WebSocket relay broke: %s", error)
    finally:
        ends.set()


class _Tunnel(asyncio.Protocol):
    """The near side of a tunnel, once aiohttp has let go of its connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._writable = asyncio.Event()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._writer.write(data)

    def eof_received(self) -> bool:
        if self._writer.can_write_eof():
            self._writer.write_eof()
        return True

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._writer.close()

    async def drain(self) -> None:
        """Wait until the near side takes more."""
        await self._writable.wait()


def _refusal(status: int, message: str) -> StatusError:
    error = InternalError(f"unable to upgrade connection: {message}")
    error.status_code = status if 400 <= status < 600 else 500
    return error
