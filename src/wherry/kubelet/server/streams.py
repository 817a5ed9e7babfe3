"""What exec and attach need of a connection, whatever carries it."""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Which streams the client asked for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class RemoteStreams(Protocol):
    """The client's side of a command."""

    async def read_stdin(self) -> bytes:
        """Return the next bytes of standard input, none at its end (also when the client has gone)."""
        ...

    async def read_size(self) -> tuple[int, int] | None:
        """Return the next terminal size (width, height), None when there will be none."""
        ...

    async def write(self, name: str, data: bytes) -> None:
        """Send bytes of ``stdout`` or ``stderr``."""
        ...

    async def finish(self, status: dict[str, Any]) -> None:
        """Send the closing Status and end the connection."""
        ...

    async def wait_gone(self) -> None:
        """Return when the client has closed the connection."""
        ...


class Inbox:
    """Bytes that came in, waiting to be read."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(64)
        self._ended = False

    async def put(self, data: bytes) -> None:
        """Add bytes; waits while the reader is far behind."""
        if data and not self._ended:
            await self._queue.put(data)

    def end(self) -> None:
        """No more will come."""
        if not self._ended:
            self._ended = True
            try:
                self._queue.put_nowait(b"")
            except asyncio.QueueFull:
                pass  # the reader sees the end when it has read all

    async def get(self) -> bytes:
        """Return the next bytes, none at the end."""
        if self._ended and self._queue.empty():
            return b""
        return await self._queue.get()
