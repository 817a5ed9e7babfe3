"""Requests that came whole in one packet: what `wherry.apiserver.http` needs of one, without aiohttp's machinery.

Nearly every request is small and comes at once. Then there is nothing to wait for and nothing to stream: the head is
split here, the body is the rest of the packet. `parse` takes only what it is sure of; all else is aiohttp's.
"""

import asyncio
import re
from typing import Protocol

from aiohttp import HttpVersion11
from multidict import CIMultiDict

_HEAD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!-~]*) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+)"
)
_UNSURE = ("Transfer-Encoding", "Upgrade", "Expect", "Connection")
_LENGTH = "Content-Length"


class Drain(Protocol):
    async def drain(self) -> None:
        """Wait until the connection takes more."""
        ...


class Head:
    """The header lines of a request, taken apart. Not to be changed: a client sends many requests with the same ones.

    `length` is that of the body as it was written; None: it is unusual, or there is a header that aiohttp must see.
    """

    __slots__ = ("headers", "impersonates", "length", "lines")

    def __init__(self, lines: bytes) -> None:
        self.lines = lines
        self.impersonates = b"mpersonate-" in lines.lower()
        self.headers: CIMultiDict[str] = CIMultiDict()
        for line in lines.decode("utf-8", "surrogateescape").split("\r\n"):
            if line:
                name, _, value = line.partition(":")
                self.headers.add(name, value.strip(" \t"))
        lengths = self.headers.getall(_LENGTH, ["0"])
        self.length = lengths[0] if len(lengths) == 1 else None
        if any(name in self.headers for name in _UNSURE):
            self.length = None


class Arrived:
    """One whole request, with the members of aiohttp's ``BaseRequest`` that are read of one."""

    __slots__ = ("body", "head", "headers", "method", "raw_path", "transport", "writer")

    keep_alive = True
    version = HttpVersion11

    def __init__(self, method: str, raw_path: str, head: Head, body: bytes) -> None:
        self.method = method
        self.raw_path = raw_path
        self.head = head
        self.headers = head.headers
        self.body = body
        self.transport: asyncio.Transport | None = None
        self.writer: Drain | None = None

    @property
    def remote(self) -> str | None:
        """The address of the client."""
        peer = self.transport.get_extra_info("peername") if self.transport is not None else None
        return str(peer[0]) if peer else None


def parse(data: bytes, last: Head | None = None) -> Arrived | None:
    """Return the request that `data` is, None when it is not exactly one, or an unusual one.

    `last` is the head of another request, to be used again where it is the same.
    """
    end = data.find(b"\r\n\r\n")
    found = _HEAD.fullmatch(data, 0, end + 2) if end > 0 else None
    if found is None:
        return None
    method, path, lines = found.groups()
    head = last if last is not None and last.lines == lines else Head(lines)
    body = data[end + 4 :]
    return Arrived(method.decode(), path.decode(), head, body) if head.length == str(len(body)) else None
