"""Watches that are written to connections, without a task that wakes for each batch of each of them.

To write costs the same for one event as for fifty: a TLS record, a system call, a turn of the client. So while there is
little to tell a watch is written at once; where hundreds follow a thousand changes a second, all of them are written in
rounds, and between two rounds the server does what else there is to do.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from aiohttp import web

from wherry.apiserver.encode import Shared, WatchEncoder
from wherry.apiserver.request import Watched
from wherry.util import clock

log = logging.getLogger(__name__)

_REST = 2.0
"""How many times as long as a round took the next one keeps off: watches have a third of the event loop's time."""

_LONGEST_REST = 0.04
_SLICE = 0.002
"""Seconds after which a round lets others have the event loop."""


class Line(Protocol):
    """What a feed needs to know of a connection (`wherry.apiserver.connection.Connection`)."""

    transport: asyncio.Transport | None
    on_lost: Callable[[], None] | None
    """Called when the connection is gone."""

    @property
    def writing_paused(self) -> bool:
        """Whether more waits in the transport than it should."""
        ...


class Pacer:
    """When the feeds of a server write. What one encodes in a round serves all that tell the same."""

    def __init__(self) -> None:
        self._due: deque[Feed] = deque()
        self._shared: Shared = {}
        self._running = False
        self._began = self._next = self._spent = 0.0

    def add(self, feed: "Feed") -> None:
        """Let `feed` tell in the next round, at once when the last one is long enough ago."""
        self._due.append(feed)
        if not self._running:
            self._running = True
            loop = asyncio.get_running_loop()
            if self._next <= clock.monotonic():
                loop.call_soon(self._begin)
            else:
                loop.call_at(self._next, self._begin)

    def _begin(self) -> None:
        self._began, self._spent = clock.monotonic(), 0.0
        self._go_on()

    def _go_on(self) -> None:
        due, began = self._due, clock.monotonic()
        while due:
            feed = due.popleft()
            try:
                feed.tell(self._shared)
            except Exception:
                log.exception("a watch could not be written")  # and the others go on
            spent = clock.monotonic() - began
            if spent > _SLICE and due:
                self._spent += spent
                asyncio.get_running_loop().call_soon(self._go_on)
                return
        self._spent += clock.monotonic() - began
        self._next = self._began + min(self._spent * (1 + _REST), self._spent + _LONGEST_REST)
        self._shared.clear()
        self._running = False


class Feed:
    """One watch and the connection that it is written to, whose answer is chunked and has begun.

    `count(events, size)` is called for each batch.
    """

    def __init__(
        self,
        http: web.BaseRequest,
        watched: Watched,
        encoder: WatchEncoder,
        *,
        pacer: Pacer,
        count: Callable[[int, int], None],
    ) -> None:
        self._http = http
        self._line = cast(Line, http.protocol)
        self._watched = watched
        self._encoder = encoder
        self._pacer = pacer
        self._count = count
        self._asked = False

    async def run(self) -> None:
        """Write until the watch is over. Raises ConnectionResetError when the client is gone."""
        self._line.on_lost = self._watched.interrupt
        try:
            async for changes in self._watched.begin():
                self._write(self._encoder.encode(changes), len(changes))
                await self._http.writer.drain()
            await self._follow()
        finally:
            self._line.on_lost = None

    async def _follow(self) -> None:
        watched = self._watched
        watched.follow(self._wake)
        while not watched.over:
            if self._line.writing_paused:
                watched.hold(held=True)
                await self._http.writer.drain()
                watched.hold(held=False)
            self._transport()  # raises when the client is gone
            self.tell({})
            await watched.idle()

    async def run_slowly(self) -> None:
        """Like `run`, for a resource whose form a webhook makes."""
        async for changes in self._watched.stream():
            self._write(self._encoder.encode(changes), len(changes))
            await self._http.writer.drain()

    def tell(self, shared: Shared) -> None:
        """Write what waits, or a part of it and ask for more."""
        self._asked = False
        watched, line = self._watched, self._line
        if watched.over:
            return
        if line.writing_paused or line.transport is None:
            watched.interrupt()
            return
        try:
            changes = watched.take()
            if changes:
                self._write(self._encoder.encode(changes, shared), len(changes))
        except Exception as error:
            watched.interrupt(error)
            return
        if watched.waits:
            self._wake()

    def _wake(self) -> None:
        transport = self._line.transport
        if self._watched.over and transport is not None:
            transport.abort()  # the client does not read: it cannot be told that this is the end
        elif not self._asked:
            self._asked = True
            self._pacer.add(self)

    def _transport(self) -> asyncio.Transport:
        transport = self._line.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        return transport

    def _write(self, chunk: bytes, events: int) -> None:
        self._transport().write(chunk)
        self._count(events, len(chunk))
