"""The server of HTTP connections: aiohttp's, with a short cut for reads (`wherry.apiserver.quick`)."""

import asyncio
import re
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from wherry.apiserver.attributes import UserInfo
from wherry.apiserver.authn import x509
from wherry.apiserver.authn.token import with_authenticated
from wherry.apiserver.http import Frontend, certificate_of
from wherry.apiserver.quick import Quick

_LENGTH = re.compile(rb"\ncontent-length:[\t ]*([0-9]+)[\t ]*\r", re.IGNORECASE)
_OPEN_ENDED = re.compile(rb"\n(?:transfer-encoding|upgrade|content-length)[\t ]*:", re.IGNORECASE)


class Connection(RequestHandler):
    """One connection. What `Quick` answers never reaches aiohttp's parser; all else does.

    The short cut is open only between requests: nothing is being answered, and the bytes that the parser was fed
    ended with a request. Once that cannot be told (a head in two packets, a body without a length), it stays closed.
    """

    __slots__ = ("_owed", "_peer", "_quick", "_traceable")

    def __init__(self, server: "Server", quick: Quick, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._quick = quick
        self._peer: UserInfo | None = None
        self._traceable = True
        self._owed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who the client is, by its certificate."""
        certificate = certificate_of(transport)
        user = x509.user_of(certificate) if certificate else None
        self._peer = with_authenticated(user) if user is not None else None
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Answer a read at once, or hand on."""
        if self._traceable and data:  # aiohttp itself calls this with nothing, to go on with what it holds
            waiter = self._waiter
            if not self._owed and waiter is not None and not waiter.done() and not self._paused and not self._close:
                answer = self._quick.answer(data, self._peer)
                if answer is not None:
                    cast(asyncio.Transport, self.transport).write(answer)
                    self._keepalive = True
                    self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                    return
            self._trace(data)
        super().data_received(data)

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


class Server(web.Server):
    """Makes a `Connection` of every connection; `options` are those of aiohttp's ``RequestHandler``."""

    def __init__(self, frontend: Frontend, **options: Any) -> None:
        super().__init__(frontend.handle, **options)
        self._quick = Quick(frontend)

    def __call__(self) -> Connection:
        return Connection(self, self._quick, **self._kwargs)
