"""Streams of a server of this machine, as they are framed: chunks are passed on without taking them apart."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from aiohttp import ServerDisconnectedError, hdrs, web
from multidict import CIMultiDict
from yarl import URL

from wherry.apiserver.feeds import Line


class Answer(asyncio.Protocol):
    """What a server answers to one request: its head, then its body, which is poured out to a client or read."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._over = False
        self._changed = asyncio.Event()
        self._client: Line | None = None
        self._frames = Frames()
        self._poured = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what came; before it is poured, wake who reads."""
        if self._client is not None:
            self._pass(data, self._client)
        else:
            self._pieces.append(data)
            self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, after what came."""
        self._transport = None
        self._over = True
        self._changed.set()

    def close(self) -> None:
        """End at once: nothing of what came is wanted."""
        if self._transport is not None:
            self._transport.abort()
        self._pieces.clear()
        self._over = True
        self._changed.set()

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks, as streams do."""
        return self.headers.get(hdrs.TRANSFER_ENCODING, "").lower() == "chunked"

    async def ask(self, url: URL) -> None:
        """Send a request and wait for the head of its answer. Raises ServerDisconnectedError."""
        assert self._transport is not None
        lines = (f"GET {url.raw_path_qs} HTTP/1.1", f"Host: {url.raw_authority}", "Connection: close", "", "")
        self._transport.write("\r\n".join(lines).encode("latin-1"))
        came = b""
        while b"\r\n\r\n" not in came:
            piece = await self._next()
            if not piece:
                raise ServerDisconnectedError
            came += piece
        head, _, body = came.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1])
        for line in rest:
            name, _, value = line.partition(":")
            self.headers.add(name, value.strip())
        if body:
            self._pieces.appendleft(body)

    async def body(self, most: int = sys.maxsize) -> bytes:
        """Return a body that is not in chunks, or the first bytes of it."""
        body = b""
        while len(body) < most and (piece := await self._next()):
            body += piece
        return body[:most]

    async def pour(self, http: web.BaseRequest) -> int:
        """Write a body in chunks to the client of `http` until it is complete; return its bytes, frames and all.

        It is written in the step in which it comes, and read no faster than the client takes it. Raises
        ServerDisconnectedError where it breaks off, also because the client has left and `close` was called.
        """
        self._client = cast(Line, http.protocol)
        for piece in self._pieces:
            self._pass(piece, self._client)
        while not self._frames.complete:
            self._changed.clear()
            if self._over:
                raise ServerDisconnectedError
            if self._client.writing_paused:
                await http.writer.drain()
                continue
            # Also where the client had taken everything before this task came to see that it had to wait.
            if self._transport is not None:
                self._transport.resume_reading()
            await self._changed.wait()
        return self._poured

    def _pass(self, data: bytes, client: Line) -> None:
        self._frames.follow(data)
        self._poured += len(data)
        if client.transport is not None:
            client.transport.write(data)
        if self._transport is not None and client.writing_paused:
            self._transport.pause_reading()
            self._changed.set()
        elif self._frames.complete:
            self._changed.set()

    async def _next(self) -> bytes:
        while not self._pieces:
            if self._over:
                return b""
            self._changed.clear()
            await self._changed.wait()
        return self._pieces.popleft()


@contextlib.asynccontextmanager
async def asking(socket: Path, url: URL) -> AsyncIterator[Answer]:
    """GET `url` from the server at `socket`, on a connection of its own. Raises ServerDisconnectedError, OSError."""
    _, answer = await asyncio.get_running_loop().create_unix_connection(Answer, str(socket))
    try:
        await answer.ask(url)
        yield answer
    finally:
        answer.close()


class Frames:
    """Follows a body in chunks: whether it is `complete` is known only by their lengths."""

    def __init__(self) -> None:
        self._left = 0
        self._size = b""
        self._last = False

    @property
    def complete(self) -> bool:
        """Whether the last chunk has come, the empty one."""
        return self._last and not self._left

    def follow(self, data: bytes) -> None:
        """Look at the next piece of the body, of any length. Raises ValueError for what is none."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._size += data[at:end]
            at = end
            if self._size.endswith(b"\n"):
                size = int(self._size.partition(b";")[0], 16)
                self._last, self._size = not size, b""
                self._left = size + len(b"\r\n")
