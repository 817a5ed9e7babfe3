"""The server of HTTP connections: aiohttp's, with short cuts for requests that come whole (ADR 10)."""

import asyncio
import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from wherry.apiserver.arrived import Arrived, Heads
from wherry.apiserver.attributes import UserInfo
from wherry.apiserver.authn import x509
from wherry.apiserver.authn.token import with_authenticated
from wherry.apiserver.http import Frontend, Route, certificate_of
from wherry.apiserver.paths import TEXT
from wherry.apiserver.quick import Quick
from wherry.apiserver.routes import Ways
from wherry.apiserver.whole import WholeResponse

log = logging.getLogger(__name__)

_MAX_HELD = 1 << 16
_MAX_PACKETS = 16

_LENGTH = re.compile(rb"\ncontent-length:[\t ]*([0-9]+)[\t ]*\r", re.IGNORECASE)
_OPEN_ENDED = re.compile(rb"\n(?:transfer-encoding|upgrade|content-length)[\t ]*:", re.IGNORECASE)


class Connection(RequestHandler):
    """One connection. What comes whole never reaches aiohttp's parser: reads are answered at once (`Quick`), other
    requests by a task each, one after the other (`Arrived`); all else is aiohttp's.

    The short cuts are open only between requests: nothing is being answered, and the bytes that the parser was fed
    ended with a request. Once that cannot be told (a head in two packets, a body without a length), they stay closed.
    """

    __slots__ = ("_held", "_owed", "_peer", "_running", "_shortcuts", "_traceable", "on_lost")

    def __init__(self, server: "Server", shortcuts: "Shortcuts", **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._shortcuts = shortcuts
        self._peer: UserInfo | None = None
        self._traceable = True
        self._owed = 0
        self._running: asyncio.Task[None] | None = None
        self._held: list[bytes] = []
        self.on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who the client is, by its certificate."""
        certificate = certificate_of(transport)
        user = x509.user_of(certificate) if certificate else None
        self._peer = with_authenticated(user) if user is not None else None
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell who asked to be told: aiohttp lets a handler find out by itself, which one that waits never does."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        """Answer at once, begin to answer, or hand on."""
        if self._running is not None:
            self._hold(data)
            return
        if self._traceable and data:  # aiohttp itself calls this with nothing, to go on with what it holds
            if self._is_idle() and self._take(data):
                return
            self._trace(data)
        super().data_received(data)

    def _is_idle(self) -> bool:
        waiter = self._waiter
        return not self._owed and waiter is not None and not waiter.done() and not self._paused and not self._close

    def _take(self, data: bytes) -> bool:
        """Answer, or begin to answer, a request that came whole; tell whether it is one."""
        shortcuts = self._shortcuts
        whole = shortcuts.heads.read(data)
        if whole is None:
            return False
        line, head, body = whole
        if not body and head.plain:
            answer = shortcuts.quick.answer(line, head, self._peer)
            if answer is not None:
                cast(asyncio.Transport, self.transport).write(answer)
                self._answered()
                return True
        way = shortcuts.ways.find(line)
        if way is None:
            return False
        arrived = Arrived(way.method, way.raw_path, head, body)
        arrived.transport, arrived.writer = self.transport, self
        self._running = self._loop.create_task(self._answer(arrived, way.route if head.plain else None))
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP as Go's server does, and tell nothing of what runs here."""
        super().handle_error(request, status, exc, message)  # writes the log
        if isinstance(exc, LineTooLong):
            status = 431
        return WholeResponse(status, [("Content-Type", TEXT)], f"{status} {HTTPStatus(status).phrase}".encode())

    async def drain(self) -> None:
        """Wait until the connection takes more."""
        if self._paused:
            await self._drain_helper()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Let what runs end, then close."""
        if self._running is not None:
            await asyncio.wait([self._running], timeout=timeout)
        await super().shutdown(timeout)

    async def _answer(self, arrived: Arrived, route: Route | None) -> None:
        request, frontend = cast(web.BaseRequest, arrived), self._shortcuts.frontend
        try:
            if route is not None and frontend.audit is None:
                response = await frontend.write(arrived, route, self._peer)
            else:
                response = await frontend.handle(request)
            await response.prepare(request)
        except ConnectionError as error:
            log.debug("a client left before its answer: %s", error)
        except Exception:
            log.exception("%s %s failed", arrived.method, arrived.raw_path)
            self.force_close()
        finally:
            self._running = None
        self._answered()
        if self._held and self.transport is not None:
            data = b"".join(self._held)
            self._held.clear()
            self.transport.resume_reading()
            self.data_received(data)

    def _answered(self) -> None:
        self._keepalive = True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    def _process_keepalive(self) -> None:
        if self._running is not None:
            self._answered()  # the time without a request has not begun yet
        super()._process_keepalive()

    def _hold(self, data: bytes) -> None:
        """Keep what comes before the answer to what came; a client that sends much waits."""
        self._held.append(data)
        if len(data) >= _MAX_HELD or len(self._held) >= _MAX_PACKETS:
            cast(asyncio.Transport, self.transport).pause_reading()

    def _trace(self, data: bytes) -> None:
        """Reckon where the request ends that `data` begins or goes on with."""
        if self._owed:
            self._owed -= len(data)
        else:
            head, end, body = data.partition(b"\r\n\r\n")
            head += b"\r"
            length = _LENGTH.findall(head)
            if not end or len(length) != len(_OPEN_ENDED.findall(head)) or len(length) > 1:
                self._traceable = False
                return
            self._owed = (int(length[0]) if length else 0) - len(body)
        if self._owed < 0:
            self._traceable = False


class Shortcuts:
    """The ways past aiohttp, shared by all connections."""

    def __init__(self, frontend: Frontend) -> None:
        self.frontend = frontend
        self.heads = Heads()
        self.quick = Quick(frontend)
        self.ways = Ways(frontend)


class Server(web.Server):
    """Makes a `Connection` of every connection; `options` are those of aiohttp's ``RequestHandler``."""

    def __init__(self, frontend: Frontend, **options: Any) -> None:
        super().__init__(frontend.handle, **options)
        self._shortcuts = Shortcuts(frontend)

    def __call__(self) -> Connection:
        return Connection(self, self._shortcuts, **self._kwargs)
