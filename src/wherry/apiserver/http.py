"""HTTP around the handlers: one request is one pass through `Frontend.handle`.

parse → authenticate → impersonate → authorize → flow limits → handler (decode, admission, defaults, validation,
write) → encode. Paths that are no resources go to `wherry.apiserver.paths`.
"""

import asyncio
import contextlib
import gzip
import hashlib
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import hdrs, web
from multidict import CIMultiDict

from wherry.api.errors import InternalError, NotFound, RequestEntityTooLarge, StatusError, Unauthorized
from wherry.api.resources import BUILTIN_GROUPS, TABLE
from wherry.api.warnings import for_resource
from wherry.apiserver import dispatch, negotiate
from wherry.apiserver.aggregation.aggregator import Aggregator
from wherry.apiserver.aggregation.remote import Remote, Unavailable
from wherry.apiserver.api import Api
from wherry.apiserver.attributes import Attributes, Authenticator, Authorizer, UserInfo
from wherry.apiserver.authn import impersonation, x509
from wherry.apiserver.authz.messages import forbidden
from wherry.apiserver.encode import Encoder, WatchEncoder
from wherry.apiserver.flowcontrol.control import Flow, FlowControl, is_long, list_seats
from wherry.apiserver.flowcontrol.level import Rejected
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.negotiate import Form
from wherry.apiserver.paths import TEXT, Paths, Plain
from wherry.apiserver.query import boolean, parse_query
from wherry.apiserver.request import Answer, Made, Request, Stored, Watched, status_of
from wherry.apiserver.requestinfo import PathInfo, PathParser, verb_of
from wherry.apiserver.whole import WholeResponse
from wherry.util import clock

log = logging.getLogger(__name__)

MAX_BODY = 3 * 1024 * 1024
_GZIP_FROM = 128 * 1024
_PATIENCE = 15.0
"""Seconds that a request waits for a seat: a quarter of the time that upstream gives to a request."""

_COUNTED_USERS = frozenset({"admin", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"})
_STREAMED = frozenset({"log", "exec", "attach", "portforward", "proxy"})
_JSON = "application/json"


class Frontend:
    """Answers HTTP requests. `relay` handles the subresources that are streams (see `wherry.apiserver.nodeproxy`)."""

    def __init__(
        self,
        api: Api,
        authenticator: Authenticator,
        authorizer: Authorizer,
        paths: Paths,
        *,
        relay: Any = None,
    ) -> None:
        self.api = api
        self.authenticator = authenticator
        self.authorizer = authorizer
        self.paths = paths
        self.flow = FlowControl(api.registry)
        self.metrics = Metrics()
        self.relay = relay
        self.aggregator: Aggregator | None = None
        self._long: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._parser = PathParser(lambda: api.registry.table)
        self._encoder = Encoder(api.registry)
        api.registry.on_table_change.append(self._parser.forget)
        paths.metrics = self.metrics

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; errors become Status objects."""
        raw, _, query = request.raw_path.partition("?")
        path = unquote(raw) if "%" in raw else raw
        info = self._parser.parse(path)
        params = parse_query(query) if query else {}
        headers = request.headers
        warnings: list[str] = []
        verb = request.method.lower()
        started = clock.monotonic()
        try:
            user = await self._authenticate(request)
            if info.is_resource:
                verb = verb_of(request.method, info, watch="watch" in params and boolean(params, "watch")) or verb
            attributes = _attributes(user, verb, info, params)
            target = impersonation.wanted(headers.items())
            if target is not None:
                user = impersonation.impersonate(user, target, attributes, self.authorizer)
                attributes = attributes._replace(user=user)
            flow = None if is_long(verb, info.subresource) and verb != "watch" else self.flow.classify(attributes)
            if flow is None:
                response = await self._authorized(request, path, attributes, info, params, warnings)
            else:
                response = await self._seated(flow, request, path, attributes, info, params, warnings)
        except Rejected as error:
            log.debug("%s %s: %s", request.method, path, error)
            response = self._plain(_TOO_MANY)
        except StatusError as error:
            response = self._failure(error, headers, warnings)
        except Exception as error:
            log.exception("%s %s failed", request.method, path)
            response = self._failure(InternalError.of(error), headers, warnings)
        self.metrics.count(verb, info, response.status, clock.monotonic() - started, response.body_length)
        return response

    async def _seated(
        self,
        flow: Flow,
        http: web.BaseRequest,
        path: str,
        attributes: Attributes,
        info: PathInfo,
        params: dict[str, str],
        warnings: list[str],
    ) -> web.StreamResponse:
        """Answer with the seats that the request's flow gives it. Raises Rejected."""
        level, seats = flow.level, 1
        if attributes.verb == "list" and info.resource is not None:
            registry, limit = self.api.registry, params.get("limit", "")
            objects = registry.store.count(registry.prefix(info.resource, info.namespace))
            seats = list_seats(objects, int(limit) if limit.isdigit() else 0)
        queue = await level.enter(flow.key, flow.schema, seats, patience=_PATIENCE)
        if attributes.verb == "watch":
            level.leave(seats, 0.0, queue)  # the stream lasts; what it sends is counted with what is written
            return await self._authorized(http, path, attributes, info, params, warnings, flow.headers)
        began = clock.monotonic()
        try:
            response = await self._authorized(http, path, attributes, info, params, warnings)
        except StatusError as error:
            response = self._failure(error, http.headers, warnings)
        finally:
            level.leave(seats, clock.monotonic() - began, queue)
        if isinstance(response, WholeResponse):
            response.add_headers(flow.headers)
        return response

    async def _authorized(
        self,
        http: web.BaseRequest,
        path: str,
        attributes: Attributes,
        info: PathInfo,
        params: dict[str, str],
        warnings: list[str],
        answer_headers: Sequence[tuple[str, str]] = (),
    ) -> web.StreamResponse:
        decision = self.authorizer.authorize(attributes)
        if not decision.allowed:
            self.metrics.authorizations["denied"] += 1
            raise forbidden(attributes, decision.reason)
        remote = self.aggregator.find(path) if self.aggregator is not None else None
        if remote is not None:
            return await self._remote(remote, http, attributes, info)
        if info.is_resource:
            return await self._resource(
                http, info, attributes.verb, params, attributes.user, warnings, answer_headers=answer_headers
            )
        return self._plain(await self.paths.answer(http.method, path, params, http.headers))

    async def _remote(
        self, remote: Remote, http: web.BaseRequest, attributes: Attributes, info: PathInfo
    ) -> web.StreamResponse:
        if not remote.available:
            return self._plain(_UNAVAILABLE)
        try:
            if not is_long(attributes.verb, info.subresource):
                return await remote.pass_on(http, attributes.user)
            with self._ended_at_stop(attributes.verb, info):
                return await remote.pass_on(http, attributes.user)
        except Unavailable as error:
            log.debug("%s: %s", remote.name, error)
            return self._plain(_UNAVAILABLE)

    async def _authenticate(self, request: web.BaseRequest) -> UserInfo:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        if certificate and x509.FINGERPRINT not in certificate:  # once a connection: the mapping is the transport's
            der = transport.get_extra_info("ssl_object").getpeercert(True) if transport is not None else None
            certificate[x509.FINGERPRINT] = hashlib.sha256(der or b"").hexdigest()
        attempts = self.metrics.authentications
        try:
            user = await self.authenticator.authenticate(request.headers.get(hdrs.AUTHORIZATION), certificate or None)
        except Unauthorized:
            attempts["error"] += 1
            raise
        if user is None:
            attempts["failure"] += 1
            raise Unauthorized
        attempts["success"] += 1
        self.metrics.users[user.name if user.name in _COUNTED_USERS else "other"] += 1
        return user

    async def _resource(
        self,
        http: web.BaseRequest,
        info: PathInfo,
        verb: str,
        params: dict[str, str],
        user: UserInfo,
        warnings: list[str],
        *,
        answer_headers: Sequence[tuple[str, str]] = (),
    ) -> web.StreamResponse:
        resource = info.resource
        if resource is None:
            if info.group in BUILTIN_GROUPS:
                raise NotFound.path()
            return self._plain(Plain(b"404 page not found\n", TEXT, 404, {"X-Content-Type-Options": "nosniff"}))
        namespace = info.namespace if resource.namespaced else ""
        request = Request(
            verb,
            resource,
            namespace,
            info.name,
            info.subresource,
            user,
            params,
            warnings=warnings,
            answer_headers=answer_headers,
            user_agent=http.headers.get(hdrs.USER_AGENT, ""),
            content_type=http.headers.get(hdrs.CONTENT_TYPE, ""),
        )
        warnings += for_resource(resource)
        if info.watch and info.name:
            _narrow_to_name(request)
        handler = None
        if info.subresource not in _STREAMED:
            handler = dispatch.find(self.api, request)
        accept = http.headers.get(hdrs.ACCEPT, "")
        form = negotiate.PLAIN
        if not _is_plain(accept):
            form = negotiate.negotiate(accept, protobuf=resource in _WITH_PROTOBUF)
        if is_long(verb, info.subresource):
            with self._ended_at_stop(verb, info):
                if handler is None:
                    return await self.relay.handle(http, request, info)
                return await self._answer(http, request, await handler(self.api, request), form)
        if verb not in ("get", "list"):
            request.body = await read_body(http)
        assert handler is not None
        return await self._answer(http, request, await handler(self.api, request), form)

    @contextlib.contextmanager
    def _ended_at_stop(self, verb: str, info: PathInfo) -> Iterator[None]:
        """Note the task of a request that would run for as long as its client likes, for `end_streams`."""
        task = asyncio.current_task()
        assert task is not None
        self._long.add(task)
        self.metrics.started(verb, info, 1)
        try:
            yield
        finally:
            self._long.discard(task)
            self.metrics.started(verb, info, -1)

    def end_streams(self) -> None:
        """End watches and other streams: the server stops. A watch ends as one whose time is up; its client resumes."""
        self._stopping = True
        for task in list(self._long):
            task.cancel()

    async def _answer(self, http: web.BaseRequest, request: Request, answer: Answer, form: Form) -> web.StreamResponse:
        if isinstance(answer, Watched):
            return await self._stream(http, request, answer, form)
        if not isinstance(answer, Made) and self.api.registry.is_fetched(answer.resource):
            records = [answer.record] if isinstance(answer, Stored) else answer.records
            await self.api.registry.ready(records, answer.resource)
        parts = self._encoder.parts(answer, form, request.params)
        headers = _headers(form.media, request.warnings)
        if sum(map(len, parts)) >= _GZIP_FROM and "gzip" in http.headers.get(hdrs.ACCEPT_ENCODING, ""):
            parts = (await asyncio.to_thread(gzip.compress, b"".join(parts), 1),)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        return WholeResponse(answer.code, headers, *parts)

    async def _stream(self, http: web.BaseRequest, request: Request, answer: Watched, form: Form) -> web.StreamResponse:
        encoder = WatchEncoder(self.api.registry, answer.resource, form, request.params.get("includeObject", ""))
        headers = [*_headers(encoder.media, request.warnings), *request.answer_headers]
        response = web.StreamResponse(headers=CIMultiDict(headers))
        response.enable_chunked_encoding()
        kind = (answer.resource.group, answer.resource.version, answer.resource.kind)
        await response.prepare(http)
        # The client must see that the watch stands before anything happens.
        try:
            async for changes in answer.events:
                if encoder.nothing:
                    break
                data = encoder.encode(changes)
                self.metrics.watched(kind, len(changes), len(data))
                await response.write(data)
            await response.write_eof()
        except (ConnectionResetError, ConnectionAbortedError):
            log.debug("a watch of %s ended early", request.resource.plural)
        except asyncio.CancelledError:
            transport = http.transport
            if not self._stopping or transport is None or transport.get_write_buffer_size():
                raise  # also at the stop, when the client does not read: the connection is dropped
            await response.write_eof()
        finally:
            await answer.events.aclose()  # type: ignore[attr-defined]
        return response

    def _failure(self, error: StatusError, headers: Mapping[str, str], warnings: list[str]) -> WholeResponse:
        form = negotiate.error_form(headers.get(hdrs.ACCEPT, ""))
        body = self._encoder.encode(status_of(error), form, {})
        out = _headers(form.media, warnings)
        seconds = (error.details or {}).get("retryAfterSeconds")
        if seconds:
            out.append(("Retry-After", str(seconds)))
        out.extend((name, value) for name, value in error.headers.items() if name != "Retry-After" or not seconds)
        return WholeResponse(error.status_code, out, body)

    def _plain(self, plain: Plain) -> WholeResponse:
        own = {"Audit-Id": f"{random.getrandbits(128):032x}", "Cache-Control": "no-cache, private"}
        headers = ({**own, "Content-Type": plain.media} | plain.headers).items()
        return WholeResponse(plain.code, headers, plain.body)


_UNAVAILABLE = Plain(b"service unavailable\n", TEXT, 503, {"X-Content-Type-Options": "nosniff"})
_TOO_MANY = Plain(
    b"Too many requests, please try again later.\n",
    TEXT,
    429,
    {"Retry-After": "1", "X-Content-Type-Options": "nosniff"},
)


def _attributes(user: UserInfo, verb: str, info: PathInfo, params: Mapping[str, str]) -> Attributes:
    if not info.is_resource:
        return Attributes(user, verb, path=info.path)
    field_selector = params.get("fieldSelector", "")
    return Attributes(
        user,
        verb,
        info.group,
        info.version,
        info.plural,
        info.subresource,
        info.namespace,
        info.name or (_selected_name(field_selector) if field_selector else ""),
        field_selector=field_selector,
        label_selector=params.get("labelSelector", ""),
    )


def _selected_name(field_selector: str) -> str:
    """A list or watch of one name counts as a request for it: who may get an object may watch it."""
    for term in field_selector.split(","):
        field, _, value = term.partition("=")
        if field == "metadata.name" and value:
            return value.removeprefix("=")
    return ""


_WITH_PROTOBUF = frozenset(TABLE)
"""Built-in resources; custom ones have no protobuf form."""


def _is_plain(accept: str) -> bool:
    return accept in ("", _JSON, "*/*")


def _narrow_to_name(request: Request) -> None:
    """``/watch/…/NAME`` is a watch of one name."""
    term = f"metadata.name={request.name}"
    given = request.params.get("fieldSelector")
    request.params = {**request.params, "fieldSelector": f"{given},{term}" if given else term}
    request.name = ""


def _headers(media: str, warnings: list[str]) -> list[tuple[str, str]]:
    headers = [
        ("Audit-Id", f"{random.getrandbits(128):032x}"),
        ("Cache-Control", "no-cache, private"),
        ("Content-Type", media),
    ]
    for warning in dict.fromkeys(warnings):
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        headers.append(("Warning", f'299 - "{escaped}"'))
    return headers


async def read_body(http: web.BaseRequest) -> bytes:
    """Return the body. Raises RequestEntityTooLarge above `MAX_BODY`."""
    if not http.can_read_body:
        return b""
    parts, total = [], 0
    content = http.content
    while chunk := await content.readany():
        total += len(chunk)
        if total > MAX_BODY:
            raise RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY}")
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)
