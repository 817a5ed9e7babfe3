"""HTTP around the handlers: one request is one pass through `Frontend.handle`.

parse → authenticate → impersonate → audit → flow limits → authorize → handler (decode, admission, defaults, validation,
write) → encode (`respond`). Paths that are no resources go to `wherry.apiserver.paths`, those of other servers to
`wherry.apiserver.aggregation`. An `Exchange` carries what the steps tell each other.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

import orjson
from aiohttp import hdrs, web

from wherry.api.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    StatusError,
    Timeout,
    Unauthorized,
)
from wherry.api.resources import BUILTIN_GROUPS, Resource
from wherry.api.warnings import for_resource
from wherry.apiserver import dispatch, negotiate
from wherry.apiserver.aggregation.aggregator import Aggregator
from wherry.apiserver.aggregation.remote import Remote, Unavailable
from wherry.apiserver.api import Api
from wherry.apiserver.arrived import Arrived
from wherry.apiserver.attributes import Attributes, Authenticator, Authorizer, UserInfo
from wherry.apiserver.audit.log import AuditLog
from wherry.apiserver.audit.policy import COMPLETE, NONE, RECEIVED
from wherry.apiserver.audit.record import Record
from wherry.apiserver.authn import impersonation, websocket, x509
from wherry.apiserver.authz.messages import forbidden
from wherry.apiserver.deadline import deadline
from wherry.apiserver.exchange import Exchange
from wherry.apiserver.flowcontrol.control import Flow, FlowControl, is_long, list_seats
from wherry.apiserver.flowcontrol.level import Rejected
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.paths import NOT_FOUND, TEXT, Paths, Plain
from wherry.apiserver.query import Query, boolean, parse_query
from wherry.apiserver.request import Request
from wherry.apiserver.requestinfo import PathInfo, PathParser, verb_of
from wherry.apiserver.respond import Responder
from wherry.util import clock

log = logging.getLogger(__name__)

MAX_BODY = 3 * 1024 * 1024
_BODY_PATIENCE = 60.0
_PATIENCE = 15.0
"""Seconds that a request waits for a seat: a quarter of the time that upstream gives to a request."""

_COUNTED_USERS = frozenset({"admin", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"})
STREAMED = frozenset({"log", "exec", "attach", "portforward", "proxy"})


class Route(NamedTuple):
    """What a write asks for that came whole, known from its first line (`wherry.apiserver.routes`)."""

    info: PathInfo
    resource: Resource
    verb: str
    namespace: str
    name: str
    params: Query
    handler: dispatch.Handler
    warnings: Sequence[str]


class Frontend:
    """Answers HTTP requests. `relay` handles the subresources that are streams (see `wherry.apiserver.nodeproxy`),
    `aggregator` knows who else serves, `audit` writes down what happens; None of the latter two is nobody, nothing."""

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
        self.audit: AuditLog | None = None
        self._long: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self.parser = PathParser(lambda: api.registry.table)
        self._respond = Responder(api.registry, self.metrics, stopping=lambda: self._stopping, note=self._note)
        api.registry.on_table_change.append(self.parser.forget)
        paths.metrics = self.metrics

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; errors become Status objects."""
        raw, _, query = request.raw_path.partition("?")
        path = unquote(raw) if "%" in raw else raw
        x = Exchange(request, path, self.parser.parse(path), parse_query(query) if query else {})
        if "%" in path and _BAD_ESCAPE.search(raw):
            return self._respond.plain(x, _BAD_REQUEST)
        return await self._guarded(x, self._in_time(x) if "timeout" in x.params else self._answer(x))

    async def write(self, arrived: Arrived, route: Route, peer: UserInfo | None) -> web.StreamResponse:
        """Answer a plain write that came whole: as `handle` does, with what is known of its lines.

        `peer` is the user of the connection's client certificate.
        """
        x = Exchange(cast(web.BaseRequest, arrived), route.info.path, route.info, route.params)
        return await self._guarded(x, self._written(x, route, arrived, peer))

    async def _guarded(self, x: Exchange, answer: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        """Await the answer to a request; errors become Status objects."""
        started, request = clock.monotonic(), x.http
        try:
            response = await answer
        except Rejected as error:
            log.debug("%s %s: %s", request.method, x.path, error)
            response = self._respond.plain(x, _TOO_MANY)
        except StatusError as error:
            response = self._respond.failure(x, error)
        except orjson.JSONEncodeError as error:
            # What was read can become too deep to be written: patches and managed fields nest it further.
            response = self._respond.failure(x, BadRequest(f"the object cannot be encoded: {error}"))
        except ConnectionError:
            raise  # the client has left, which aiohttp knows how to take
        except Exception as error:
            log.exception("%s %s failed", request.method, x.path)
            response = self._respond.failure(x, InternalError.of(error))
        # Methods that nobody knows are the client's invention and no labels.
        verb = x.verb if request.method in hdrs.METH_ALL else "other"
        self.metrics.count(verb, x.info, response.status, clock.monotonic() - started, response.body_length)
        if x.record is not None:
            self._note(x.record.event(COMPLETE))
        return response

    async def _in_time(self, x: Exchange) -> web.StreamResponse:
        """Answer a request whose client said how long it waits. Raises BadRequest, Timeout."""
        if is_long(_verb(x), x.info.subresource):
            return await self._answer(x)
        limit = deadline(x.params)
        try:
            async with asyncio.timeout(limit) as scope:
                return await self._answer(x)
        except TimeoutError:
            if not scope.expired():
                raise
            text = "request did not complete within requested timeout - context deadline exceeded"
            raise Timeout(f"Timeout: {text}", {}) from None

    async def _written(self, x: Exchange, route: Route, http: Arrived, peer: UserInfo | None) -> web.StreamResponse:
        """Answer a plain write; one that has to wait for its turn, or is refused, goes the long way."""
        info, head = route.info, http.head
        user = peer or self.authenticator.at_once(head.credential)
        if user is None:
            return await self._answer(x)
        attributes = Attributes(
            user, route.verb, info.group, info.version, info.plural, info.subresource, info.namespace, info.name
        )
        flow = self.flow.classify(attributes)
        if flow is None or not flow.level.is_open() or not self.authorizer.authorize(attributes).allowed:
            return await self._answer(x)
        self.authenticated(user)
        x.verb, x.attributes, x.headers = route.verb, attributes, flow.headers
        x.warnings += route.warnings
        level = flow.level
        level.take(flow.schema, 1)
        began = clock.monotonic()
        try:
            request = Request(
                route.verb,
                route.resource,
                route.namespace,
                route.name,
                info.subresource,
                user,
                route.params,
                http.body,
                content_type=head.content_type,
                user_agent=head.agent,
                warnings=x.warnings,
            )
            form = negotiate.indented(negotiate.form_for(head.accept, route.resource), route.params, head.agent)
            return await self._respond.answer(x, request, await route.handler(self.api, request), form)
        finally:
            level.leave(1, clock.monotonic() - began)

    async def _answer(self, x: Exchange) -> web.StreamResponse:
        """Find out who asks for what, and answer with the seats that the request's flow has."""
        http, info = x.http, x.info
        user = await self._authenticate(http, x.path)
        if info.is_resource:
            x.verb = _verb(x)
        attributes = _attributes(user, x.verb, info, x.params)
        if self.audit is not None:
            self._begin_record(x, attributes, self.audit)
        plain = isinstance(http, Arrived) and not http.head.impersonates
        target = None if plain else impersonation.wanted(http.headers.items())
        if target is not None:
            user = impersonation.impersonate(user, target, attributes, self.authorizer)
            attributes = attributes._replace(user=user)
            if x.record is not None:
                x.record.impersonated = user
        x.attributes = attributes
        flow = None if is_long(x.verb, info.subresource) and x.verb != "watch" else self.flow.classify(attributes)
        if flow is None:
            return await self._authorized(x, attributes)
        x.headers = flow.headers
        return await self._seated(x, attributes, flow)

    def _begin_record(self, x: Exchange, attributes: Attributes, audit: AuditLog) -> None:
        decision = audit.policy.decide(attributes)
        if decision.level == NONE:
            return
        http = x.http
        agent = http.headers.get(hdrs.USER_AGENT, "")
        x.record = Record(x.audit_id, decision, attributes, uri=http.raw_path, source=http.remote or "", agent=agent)
        audit.write(x.record.event(RECEIVED))

    def _note(self, event: Any) -> None:
        if self.audit is not None:
            self.audit.write(event)

    async def _seated(self, x: Exchange, attributes: Attributes, flow: Flow) -> web.StreamResponse:
        """Answer with the seats that the request's flow gives it. Raises Rejected, StatusError."""
        level, seats = flow.level, 1
        if x.verb == "list" and x.info.resource is not None:
            registry, limit = self.api.registry, x.params.get("limit", "")
            objects = registry.store.count(registry.prefix(x.info.resource, x.info.namespace))
            seats = list_seats(objects, int(limit) if limit.isdecimal() and len(limit) < 20 else 0)
        queue = await level.enter(flow.key, flow.schema, seats, patience=_PATIENCE)
        if x.verb == "watch":
            level.leave(seats, 0.0, queue)  # the stream lasts; what it sends is counted with what is written
            return await self._authorized(x, attributes)
        began = clock.monotonic()
        try:
            return await self._authorized(x, attributes)
        finally:
            level.leave(seats, clock.monotonic() - began, queue)

    async def _authorized(self, x: Exchange, attributes: Attributes) -> web.StreamResponse:
        decision = self.authorizer.authorize(attributes)
        if x.record is not None:
            x.record.annotations = {
                "authorization.k8s.io/decision": "allow" if decision.allowed else "forbid",
                "authorization.k8s.io/reason": decision.reason,
            }
        if not decision.allowed:
            self.metrics.authorizations["denied"] += 1
            raise forbidden(attributes, decision.reason)
        remote = self.aggregator.find(x.path) if self.aggregator is not None else None
        if remote is not None:
            return await self._remote(x, attributes, remote)
        if x.info.is_resource:
            return await self._resource(x, attributes.user)
        return self._respond.plain(x, await self.paths.answer(x.http.method, x.path, x.params, x.http.headers))

    async def _remote(self, x: Exchange, attributes: Attributes, remote: Remote) -> web.StreamResponse:
        if not remote.available:
            return self._respond.plain(x, _UNAVAILABLE)
        try:
            if not is_long(x.verb, x.info.subresource):
                return await remote.pass_on(x.http, attributes.user)
            with self._ended_at_stop(x.verb, x.info):
                return await remote.pass_on(x.http, attributes.user)
        except Unavailable as error:
            log.debug("%s: %s", remote.name, error)
            return self._respond.plain(x, _UNAVAILABLE)

    async def _authenticate(self, request: web.BaseRequest, path: str) -> UserInfo:
        transport = request.transport
        certificate = certificate_of(transport) if transport is not None else None
        try:
            authorization = request.headers.get(hdrs.AUTHORIZATION) or websocket.authorization(request.headers)
            user = await self.authenticator.authenticate(authorization, certificate, path)
        except Unauthorized:
            self.metrics.authentications["error"] += 1
            raise
        if user is None:
            self.metrics.authentications["failure"] += 1
            raise Unauthorized
        self.authenticated(user)
        return user

    def authenticated(self, user: UserInfo) -> None:
        """Count a request by a user who was found."""
        self.metrics.authentications["success"] += 1
        self.metrics.users[user.name if user.name in _COUNTED_USERS else "other"] += 1

    async def _resource(self, x: Exchange, user: UserInfo) -> web.StreamResponse:
        http, info, verb = x.http, x.info, x.verb
        resource = info.resource
        if resource is None:
            if info.group in BUILTIN_GROUPS and not info.path.startswith(("//", "/apis//")):
                raise NotFound.path()
            return self._respond.plain(x, NOT_FOUND)
        if http.method == hdrs.METH_HEAD and resource.custom is None and info.subresource != "proxy":
            raise MethodNotAllowed(details={})  # upstream routes built-in resources by their methods, and has no such
        if resource.custom is not None and resource.namespaced and not info.namespace and verb not in _ACROSS:
            return self._respond.plain(x, NOT_FOUND)
        request = Request(
            verb,
            resource,
            info.namespace if resource.namespaced else "",
            info.name,
            info.subresource,
            user,
            x.params,
            warnings=x.warnings,
            user_agent=http.headers.get(hdrs.USER_AGENT, ""),
            content_type=http.headers.get(hdrs.CONTENT_TYPE, ""),
        )
        if x.record is not None:
            request.annotations, request.wants_details = x.record.annotations, x.record.decision.wants_request
        x.warnings += for_resource(resource)
        if info.watch and info.name:
            _narrow_to_name(request)
        handler = None
        if info.subresource not in STREAMED or resource.custom is not None:
            handler = dispatch.find(self.api, request)
        if info.name and ("%" in info.name or info.name in (".", "..")):
            why = "may not contain '%'" if "%" in info.name else f"may not be '{info.name}'"
            raise BadRequest(f"Name parameter invalid: {json.dumps(info.name)}: {why}")
        form = negotiate.form_for(http.headers.get(hdrs.ACCEPT, ""), resource, _routed(verb, info))
        form = negotiate.indented(form, x.params, request.user_agent)
        if is_long(verb, info.subresource):
            with self._ended_at_stop(verb, info):
                if handler is None:
                    return await self.relay.handle(http, request, info)
                return await self._respond.answer(x, request, await handler(self.api, request), form)
        if verb not in ("get", "list"):
            request.body = await read_body(http)
            if x.record is not None and x.record.decision.wants_request:
                x.record.request_object = _shown_body(request.body)
        assert handler is not None
        return await self._respond.answer(x, request, await handler(self.api, request), form)

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


_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BAD_REQUEST = Plain(b"400 Bad Request", TEXT, 400)
_ACROSS = frozenset({"list", "watch"})
_UNAVAILABLE = Plain(b"service unavailable\n", TEXT, 503, {"X-Content-Type-Options": "nosniff"})
_TOO_MANY = Plain(
    b"Too many requests, please try again later.\n",
    TEXT,
    429,
    {"Retry-After": "1", "X-Content-Type-Options": "nosniff"},
)


def _routed(verb: str, info: PathInfo) -> tuple[str, ...]:
    if verb in _ACROSS and not info.name:
        return negotiate.ROUTED_LIST
    return negotiate.ROUTED_LOG if info.subresource == "log" else negotiate.ROUTED


def certificate_of(transport: asyncio.BaseTransport) -> dict[str, Any] | None:
    """Return the verified client certificate of a connection with its fingerprint, None without one."""
    certificate: dict[str, Any] | None = transport.get_extra_info("peercert")
    if certificate and x509.FINGERPRINT not in certificate:  # once a connection: the mapping is the transport's
        der = transport.get_extra_info("ssl_object").getpeercert(True)
        certificate[x509.FINGERPRINT] = hashlib.sha256(der or b"").hexdigest()
    return certificate or None


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


def _verb(x: Exchange) -> str:
    watch = "watch" in x.params and boolean(x.params, "watch")
    return verb_of(x.http.method, x.info, watch=watch) if x.info.is_resource else x.verb


def _narrow_to_name(request: Request) -> None:
    """``/watch/…/NAME`` is a watch of one name."""
    term = f"metadata.name={request.name}"
    given = request.params.get("fieldSelector")
    request.params = {**request.params, "fieldSelector": f"{given},{term}" if given else term}
    request.name = ""


def _shown_body(body: bytes) -> Any:
    """Return a body for the audit log; one that is no JSON as text where it is text."""
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


async def read_body(http: web.BaseRequest) -> bytes:
    """Return the body. Raises RequestEntityTooLarge above `MAX_BODY`, Timeout when it does not come in a minute."""
    if isinstance(http, Arrived):
        return http.body
    if not http.can_read_body:
        return b""
    parts, total = [], 0
    content = http.content
    if not content.is_eof() and http.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and http.transport:
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        async with asyncio.timeout(_BODY_PATIENCE if not content.is_eof() else None):
            while chunk := await content.readany():
                total += len(chunk)
                if total > MAX_BODY:
                    raise RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY}")
                parts.append(chunk)
    except web.RequestPayloadError as error:
        raise BadRequest(f"the body cannot be read: {error}") from None
    except TimeoutError:
        raise Timeout("Timeout: request did not complete within the allotted timeout") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)
