"""An answer that is written in one piece: the head is made here, without aiohttp's header machinery.

A GET of a small object spends most of its time in writing headers; this makes the difference between aiohttp's own
speed and twice that.
"""

from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}
_JOIN_BELOW = 1 << 16
_PIECE = 3 << 16
"""Long bodies go out in pieces, each when the one before has left: the connection buffers no more than one. What TLS
makes of one is below what the allocator asks the system for (`wherry.util.interpreter`)."""


class WholeResponse(web.StreamResponse):
    """Status, header pairs and body, sent with one write. Not to be changed after it was made."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], *parts: bytes) -> None:
        # The base class is not initialised: nothing of it is used but its type.
        self._whole = (status, headers, parts)

    @property
    def status(self) -> int:
        return self._whole[0]

    @property
    def keep_alive(self) -> bool | None:
        return self._keep

    @property
    def body_length(self) -> int:
        return sum(map(len, self._whole[2]))

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send head and body."""
        status, headers, parts = self._whole
        self._keep = request.keep_alive
        empty = status in (204, 304)
        size = self.body_length
        connection = "" if self._keep and request.version >= (1, 1) else _connection(self._keep)
        head = head_of(status, headers, None if empty else size, connection)
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("Cannot write to closing transport")
        if request.method == "HEAD" or empty:
            transport.write(head)
        elif size < _JOIN_BELOW:
            transport.write(b"".join((head, *parts)))
        else:
            transport.write(head)
            for part in parts:
                for at in range(0, len(part), _PIECE):
                    transport.write(memoryview(part)[at : at + _PIECE])
                    await request.writer.drain()
                    if transport.is_closing():
                        raise ConnectionResetError("Cannot write to closing transport")

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


def head_of(status: int, headers: Iterable[tuple[str, str]], size: int | None, connection: str = "") -> bytes:
    """Return the head of an answer whose body has `size` bytes; None: an answer that has none."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    length = "" if size is None else f"Content-Length: {size}\r\n"
    return f"{_STATUS_LINES[status]}{lines}Date: {rfc822_formatted_time()}\r\n{length}{connection}\r\n".encode()


def _connection(keep: bool) -> str:
    return "Connection: keep-alive\r\n" if keep else "Connection: close\r\n"
