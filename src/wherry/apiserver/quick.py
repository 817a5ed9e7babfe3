"""Reads of one object that are answered in the step in which they arrive, without a task and without aiohttp.

Most of what a cluster is asked is a small GET by somebody who is known. Such a request, whole in one packet, is read by
regular expressions, and its way through authentication, flow limits, authorization and the store takes no waiting.
Whatever is not exactly that (another method, a query, a body, an unknown token, an object that is not there, a full
priority level, an audit log) goes the ordinary way, through aiohttp and `wherry.apiserver.http`.
"""

import re

from wherry.api import warnings
from wherry.api.errors import StatusError
from wherry.apiserver import dispatch, negotiate
from wherry.apiserver.attributes import Attributes, UserInfo
from wherry.apiserver.encode import Encoder
from wherry.apiserver.exchange import answer_headers, new_audit_id
from wherry.apiserver.handlers import get
from wherry.apiserver.http import Frontend
from wherry.apiserver.request import Request, Stored
from wherry.apiserver.requestinfo import PathInfo
from wherry.apiserver.whole import head_of
from wherry.util import clock

_GET = re.compile(rb"GET (/[!-$&->@-~]*) HTTP/1\.1\r\n")
"""A path without a query or escapes."""

_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+\r\n")
"""Header lines of printable ASCII, and nothing behind them."""

_TELLING = re.compile(
    rb"(authorization|accept|audit-id|connection|content-length|expect|transfer-encoding|upgrade|impersonate-[^:]*"
    rb"|user-agent(?=:[\t ]*(?-i:curl|Wget|Mozilla/5\.0))):(.*)",
    re.IGNORECASE,
)
"""The headers that matter here. Of them only the first two are understood; the last is of those who get indented
JSON."""

_SMALL = 1 << 16
_MAX_PATHS = 20_000


class Asked:
    """The header lines of a connection's last read: those of the next are mostly the same."""

    __slots__ = ("accept", "authorization", "lines", "ordinary")

    def __init__(self) -> None:
        self.lines = b""
        self.ordinary = False
        self.authorization: str | None = None
        self.accept = ""

    def read(self, lines: bytes) -> None:
        """Take `lines`; they are `ordinary` when nothing in them asks for more than a user and a form."""
        self.lines, self.ordinary = lines, False
        if not _LINES.fullmatch(lines):
            return
        given: dict[bytes, str] = {}
        for line in lines.split(b"\r\n"):
            found = _TELLING.match(line)
            if found is None:
                continue
            name = found[1].lower()
            if name not in (b"authorization", b"accept") or name in given:
                return
            given[name] = found[2].strip(b" \t").decode()
        self.authorization, self.accept = given.get(b"authorization"), given.get(b"accept", "")
        self.ordinary = True


class Quick:
    """Answers what can be answered at once, over the parts of a `Frontend`."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._registry = frontend.api.registry
        self._encoder = Encoder(self._registry)
        self._paths: dict[bytes, PathInfo | None] = {}
        self._registry.on_table_change.append(self._paths.clear)

    def answer(self, data: bytes, peer: UserInfo | None, asked: Asked) -> bytes | None:
        """Return the answer to the request that `data` is; None when it must go the ordinary way.

        `peer` is the user of the connection's client certificate, `asked` the connection's own.
        """
        found = _GET.match(data)
        frontend = self._frontend
        if found is None or frontend.audit is not None:
            return None
        lines = data[found.end() :]
        if lines != asked.lines:
            asked.read(lines)
        if not asked.ordinary:
            return None
        path = found[1]
        try:
            info = self._paths[path]
        except KeyError:
            info = self._look_up(path)
        if info is None:
            return None
        user = peer or frontend.authenticator.at_once(asked.authorization)
        try:
            return None if user is None else self._read(info, user, asked.accept)
        except StatusError:
            return None

    def _look_up(self, path: bytes) -> PathInfo | None:
        """Return what a path asks for when it is one object that is stored here and has no rules of its own."""
        frontend, text = self._frontend, path.decode()
        info: PathInfo | None = frontend.parser.parse(text)
        assert info is not None
        if not self._is_ordinary(info) or (frontend.aggregator is not None and frontend.aggregator.find(text)):
            info = None
        if len(self._paths) >= _MAX_PATHS:
            self._paths.clear()
        self._paths[path] = info
        return info

    def _is_ordinary(self, info: PathInfo) -> bool:
        resource = info.resource
        if resource is None or info.watch or info.subresource or not info.name:
            return False
        if warnings.for_resource(resource) or self._registry.is_fetched(resource):
            return False
        request = Request("get", resource, info.namespace, info.name, "", UserInfo(""))
        try:
            return dispatch.find(self._frontend.api, request) is get.handle
        except StatusError:
            return False

    def _read(self, info: PathInfo, user: UserInfo, accept: str) -> bytes | None:
        frontend, resource = self._frontend, info.resource
        assert resource is not None
        started = clock.monotonic()
        attributes = Attributes(user, "get", info.group, info.version, info.plural, "", info.namespace, info.name)
        flow = frontend.flow.classify(attributes)
        if flow is None or not flow.level.is_open() or not frontend.authorizer.authorize(attributes).allowed:
            return None
        record = self._registry.record(resource, info.namespace, info.name)
        if record is None:
            return None
        form = negotiate.form_for(accept, resource)
        parts = self._encoder.encode(Stored(record, resource), form, {})
        size = sum(map(len, parts))
        if size >= _SMALL:
            return None
        headers = [*answer_headers(new_audit_id(), form.media), *flow.headers]
        seconds = clock.monotonic() - started
        flow.level.passed(flow.schema, seconds)
        frontend.authenticated(user)
        frontend.metrics.count("get", info, 200, seconds, size)
        return b"".join((head_of(200, headers, size), *parts))
