"""Streams of a server of this machine, as they are framed: chunks are passed on without taking them apart."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from aiohttp import ServerDisconnectedError, hdrs
from multidict import CIMultiDict
from yarl import URL

_AHEAD = 1 << 19
"""Bytes that are read ahead of the client."""


class Answer(asyncio.Protocol):
    """What a server answers to one request: its head, then `pieces`, its body as it comes over the line."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.chunked = False
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._over = False
        self._frames = Frames()
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hold what came until somebody takes it, and no more than a little of it."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held > _AHEAD and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, after what came."""
        self._transport = None
        self._over = True
        self._wake()

    def close(self) -> None:
        """End at once: nothing of what came is wanted."""
        if self._transport is not None:
            self._transport.abort()
        self._pieces.clear()
        self._over = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

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
        self.chunked = self.headers.get(hdrs.TRANSFER_ENCODING, "").lower() == "chunked"
        if body:
            self._pieces.appendleft(body)
            self._held += len(body)

    async def piece(self) -> bytes:
        """Return what came next of a body in chunks, b"" when it is complete. Raises ServerDisconnectedError."""
        if self._frames.complete:
            return b""
        if not (piece := await self._next()):
            raise ServerDisconnectedError
        self._frames.follow(piece)
        return piece

    async def body(self, most: int = sys.maxsize) -> bytes:
        """Return a body that is not in chunks, or the first bytes of it."""
        body = b""
        while len(body) < most and (piece := await self._next()):
            body += piece
        return body[:most]

    async def _next(self) -> bytes:
        while not self._pieces:
            if self._over:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if self._held <= _AHEAD and self._transport is not None:
            self._transport.resume_reading()  # which is nothing while it reads
        return piece


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
