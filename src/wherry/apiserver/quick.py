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
from wherry.apiserver.arrived import Head
from wherry.apiserver.attributes import Attributes, UserInfo
from wherry.apiserver.encode import Encoder
from wherry.apiserver.exchange import answer_headers, new_audit_id
from wherry.apiserver.handlers import get
from wherry.apiserver.http import Frontend
from wherry.apiserver.request import Request, Stored
from wherry.apiserver.requestinfo import PathInfo
from wherry.apiserver.whole import head_of
from wherry.util import clock

_GET = re.compile(rb"GET (/[!-$&->@-~]*) HTTP/1\.1")
"""A path without a query or escapes."""

_SMALL = 1 << 16
_MAX_LINES = 20_000


class Quick:
    """Answers what can be answered at once, over the parts of a `Frontend`."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._registry = frontend.api.registry
        self._encoder = Encoder(self._registry)
        self._lines: dict[bytes, PathInfo | None] = {}
        self._registry.on_table_change.append(self._lines.clear)

    def answer(self, line: bytes, head: Head, peer: UserInfo | None) -> bytes | None:
        """Return the answer to a request without a body; None when it must go the ordinary way.

        `head` is a plain one, `peer` the user of the connection's client certificate.
        """
        frontend = self._frontend
        if head.people or frontend.audit is not None:
            return None
        try:
            info = self._lines[line]
        except KeyError:
            info = self._look_up(line)
        if info is None:
            return None
        user = peer or frontend.authenticator.at_once(head.credential)
        try:
            return None if user is None else self._read(info, user, head.accept)
        except Exception:  # the ordinary way answers, and logs, what is wrong
            return None

    def _look_up(self, line: bytes) -> PathInfo | None:
        """Return what a request line asks for when it is one object that is stored here and has no rules of its own."""
        frontend, info, found = self._frontend, None, _GET.fullmatch(line)
        if found is not None:
            path = found[1].decode()
            info = frontend.parser.parse(path)
            if not self._is_ordinary(info) or (frontend.aggregator is not None and frontend.aggregator.find(path)):
                info = None
        if len(self._lines) >= _MAX_LINES:
            self._lines.clear()
        self._lines[line] = info
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
