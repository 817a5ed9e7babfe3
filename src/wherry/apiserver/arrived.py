"""Requests that came whole in one packet: what `wherry.apiserver.http` needs of one, without aiohttp's machinery.

Nearly every request is small and comes at once. Then there is nothing to wait for and nothing to stream: the head is
split here, the body is the rest of the packet. `Heads.read` takes only what it is sure of; all else is aiohttp's.
"""

import asyncio
import re
from typing import Protocol

from aiohttp import HttpVersion11, hdrs
from multidict import CIMultiDict

from wherry.apiserver import negotiate
from wherry.apiserver.authn.token import digest

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!-~]*) HTTP/1\.1")
_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+")
_LENGTH = re.compile(rb"(?<=\n)content-length:[\t ]*([0-9]{1,9})[\t ]*\r\n", re.IGNORECASE)
_UNSURE = ("Transfer-Encoding", "Upgrade", "Expect", "Connection", hdrs.CONTENT_LENGTH)
_OWN = ("Audit-Id", "Sec-WebSocket-Protocol")
_MAX_HEADS = 1024
_MAX_KEPT = 8 * 1024


class Drain(Protocol):
    async def drain(self) -> None:
        """Wait until the connection takes more."""
        ...


class Head:
    """The header lines of a request but for the length of its body, taken apart. Not to be changed: a client sends
    many requests with the same ones.

    `sure`: they are of ordinary form, and none of them is one that aiohttp must see. `plain`: nothing in them asks for
    more than a user, the form of a body and that of an answer; `people` get indented JSON.
    """

    __slots__ = (
        "accept", "agent", "content_type", "credential", "headers", "impersonates", "people", "plain", "sure",
    )  # fmt: skip

    def __init__(self, lines: bytes) -> None:
        self.headers: CIMultiDict[str] = CIMultiDict()
        for line in lines.decode("utf-8", "surrogateescape").split("\r\n"):
            if line:
                name, _, value = line.partition(":")
                self.headers.add(name, value.strip(" \t"))
        given = self.headers.get
        self.accept, self.agent = given(hdrs.ACCEPT, ""), given(hdrs.USER_AGENT, "")
        self.content_type, authorization = given(hdrs.CONTENT_TYPE, ""), given(hdrs.AUTHORIZATION)
        self.credential = digest(authorization) if authorization else None
        self.people = negotiate.is_pretty({}, self.agent)
        self.impersonates = b"mpersonate-" in lines.lower()
        self.sure = _LINES.fullmatch(lines) is not None and not any(name in self.headers for name in _UNSURE)
        self.plain = self.sure and not self.impersonates and not any(name in self.headers for name in _OWN)


class Heads:
    """The heads of the requests that a server got, by their bytes: clients repeat theirs."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def read(self, data: bytes) -> tuple[bytes, Head, bytes] | None:
        """Return the request line, the head and the body of the request that `data` is, None when it is not surely one
        and no more."""
        end = data.find(b"\r\n\r\n") + 2
        first = data.find(b"\r\n") + 2
        if end < 2 or first > end:
            return None
        lines, body = data[first:end], data[end + 2 :]
        head = self._known.get(lines)
        if head is None or body:
            found = _LENGTH.search(data, first, end)
            length = 0
            if found is not None:
                length = int(found[1])
                lines = data[first : found.start()] + data[found.end() : end]
            if length != len(body):
                return None
            head = self._known.get(lines) or self._learn(lines)
        return (data[: first - 2], head, body) if head.sure else None

    def _learn(self, lines: bytes) -> Head:
        head = Head(lines)
        if len(lines) <= _MAX_KEPT:
            if len(self._known) >= _MAX_HEADS:
                self._known.clear()
            self._known[lines] = head
        return head


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


def method_and_path(line: bytes) -> tuple[str, str] | None:
    """Return the method and the raw path of a request line, None when it is an unusual one."""
    found = _LINE.fullmatch(line)
    return (found[1].decode(), found[2].decode()) if found is not None else None
