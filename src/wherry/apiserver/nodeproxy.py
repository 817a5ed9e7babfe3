"""The subresources that are streams: log, exec, attach, portforward of pods (through their kubelet), proxy of pods,
services and nodes. Paths on the kubelet are upstream's."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import hdrs, web
from yarl import URL

from wherry.api.errors import (
    BadRequest,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    StatusError,
    generic_error,
)
from wherry.api.field import FieldError, forbidden, invalid
from wherry.api.resources import NODES, PODS
from wherry.api.schema.times import normal_time
from wherry.apiserver.admission.plugin import CONNECT
from wherry.apiserver.api import Api, operation
from wherry.apiserver.attributes import Attributes, Authorizer
from wherry.apiserver.authz.messages import refused
from wherry.apiserver.proxytarget import pod_target, service_target, split_proxy_name
from wherry.apiserver.query import boolean, integer, parse_multi
from wherry.apiserver.relay import Near, Relay, unreachable_kubelet
from wherry.apiserver.request import Request
from wherry.apiserver.requestinfo import PathInfo

Object = dict[str, Any]

_DEFAULT_KUBELET_PORT = 10250


class NodeProxy:
    """Answers requests on streaming subresources by passing them on."""

    def __init__(
        self, api: Api, authorizer: Authorizer, kubelet_tls: ssl.SSLContext | None, *, near: Near | None = None
    ) -> None:
        self._api = api
        self._authorizer = authorizer
        self._kubelet = Relay(kubelet_tls, near=near)
        self._anything = Relay(_trusting())

    async def close(self) -> None:
        """Release the connections."""
        await self._kubelet.close()
        await self._anything.close()

    async def handle(self, http: web.BaseRequest, request: Request, info: PathInfo) -> web.StreamResponse:
        """Pass the request on. Raises StatusError."""
        sub = request.subresource
        asks = sub == "proxy" and http.method == "OPTIONS"
        if request.verb not in request.resource.subresources[sub].verbs and not asks:
            raise MethodNotAllowed(details={})
        if sub == "log":
            errors = log_errors(request.params)
            if errors:
                raise Invalid.of("PodLogOptions", request.name, errors)
            return await self._log(http, request, self._found(request))
        await self._connect(http, request)
        if sub == "proxy":
            return await self._proxy(http, request, info)
        self._confirm_create(request)
        return await self._stream(http, request, self._found(request))

    def _found(self, request: Request) -> Object:
        obj = self._api.registry.get(request.resource, request.namespace, request.name)
        if obj is None:
            raise NotFound.of(request.resource.plural, request.name)
        return obj

    def _confirm_create(self, request: Request) -> None:
        """Who opens a stream by GET, as WebSockets do, must be allowed what POST needs, too. Raises Forbidden."""
        if request.verb == "create":
            return
        resource = request.resource
        asked = Attributes(
            request.user,
            "create",
            resource.group,
            resource.version,
            resource.plural,
            request.subresource,
            request.namespace,
            request.name,
        )
        decision = self._authorizer.authorize(asked)
        if not decision.allowed:
            raise refused(resource.plural, request.name, decision.reason, group=resource.group)

    async def _connect(self, http: web.BaseRequest, request: Request) -> None:
        found = self._api.registry.get(request.resource, request.namespace, request.name)
        asked = operation(request, CONNECT, obj=None, old=found)
        asked.options = _options(http, request)
        await self._api.admission.admit(asked)
        await self._api.admission.validate(asked)

    async def _log(self, http: web.BaseRequest, request: Request, pod: Object) -> web.StreamResponse:
        container = container_of(pod, request.params.get("container", ""))
        node = pod["spec"].get("nodeName")
        if not node:
            # Nothing has been logged and nobody could be asked.
            return web.Response(status=204)
        url = self._kubelet_url(node) / "containerLogs" / request.namespace / request.name / container
        kept = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes")
        url = url.with_query({k: v for k, v in request.params.items() if k in kept})
        return await self._kubelet.pass_on(
            http,
            url,
            check=lambda status, text: log_error(request.name, status, text),
            unreachable=lambda why: unreachable_kubelet(why, f'Get "{url}": {why}'),
            reads=True,
        )

    async def _stream(self, http: web.BaseRequest, request: Request, pod: Object) -> web.StreamResponse:
        sub, name = request.subresource, request.name
        query = parse_multi(http.raw_path.partition("?")[2])
        node = pod["spec"].get("nodeName")
        url: URL
        if sub == "portforward":
            if not node:
                raise BadRequest(f"pod {name} does not have a host assigned")
            url = self._kubelet_url(node) / "portForward" / request.namespace / name
            _check_upgrade(http)
            return await self._kubelet.pass_on(
                http,
                url.with_query({"port": query["ports"]} if "ports" in query else {}),
                unreachable=unreachable_kubelet,
            )
        _check_streams(request)
        container = container_of(pod, request.params.get("container", ""))
        if not node:
            raise BadRequest(f"pod {name} does not have a host assigned")
        url = self._kubelet_url(node) / sub / request.namespace / name / container
        _check_upgrade(http)
        pairs = [("command", value) for value in query.get("command", [])]
        pairs += [
            (theirs, "1")
            for ours, theirs in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))
            if boolean(request.params, ours)
        ]
        return await self._kubelet.pass_on(http, url.with_query(pairs), unreachable=unreachable_kubelet)

    def _kubelet_url(self, node: str) -> URL:
        obj = self._api.registry.get(NODES, None, node)
        if obj is None:
            raise NotFound.of("nodes", node)
        status = obj.get("status") or {}
        by_type = {a.get("type"): a.get("address") for a in status.get("addresses") or ()}
        host = by_type.get("InternalIP") or by_type.get("Hostname") or by_type.get("ExternalIP")
        if not host:
            raise ServiceUnavailable(f"no preferred addresses found; known addresses: {list(by_type.values())}")
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or _DEFAULT_KUBELET_PORT
        return URL.build(scheme="https", host=host, port=port)

    async def _proxy(self, http: web.BaseRequest, request: Request, info: PathInfo) -> web.StreamResponse:
        scheme, name, port = split_proxy_name(request.name, kind=request.resource.singular)
        raw_path, _, query = http.raw_path.partition("?")
        prefix = _proxy_prefix(raw_path, request)
        rest = raw_path.removeprefix(prefix)
        if not rest and http.method in ("GET", "HEAD"):
            # A page's relative links need the slash.
            location = f"{prefix}/?{query}" if query else f"{prefix}/"
            return web.Response(status=301, headers={"Location": location})
        if request.resource is NODES:
            base, relay = self._kubelet_url(name), self._kubelet
        else:
            base, relay = self._target(request, scheme, name, port), self._anything
        url = URL(f"{base}".rstrip("/") + (rest or "/") + (f"?{query}" if query else ""), encoded=True)
        passed = [*http.headers.getall("X-Forwarded-For", ()), *([http.remote] if http.remote else ())]
        headers = {
            "Host": http.host,
            "X-Forwarded-For": ", ".join(passed),
            "X-Forwarded-Uri": raw_path,
            "X-Forwarded-Host": http.host,
            "X-Forwarded-Proto": "https",
        }
        return await relay.pass_on(http, url, headers=headers, prefix=prefix)

    def _target(self, request: Request, scheme: str, name: str, port: str) -> URL:
        registry = self._api.registry
        found = registry.get(request.resource, request.namespace, name)
        if found is None:
            raise NotFound.of(request.resource.plural, name)
        if request.resource is PODS:
            return pod_target(found, scheme, port)
        return service_target(registry, found, scheme, port)


def _trusting() -> ssl.SSLContext:
    """What is proxied to by https need not have a certificate that anybody vouches for, as upstream."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def container_of(pod: Object, wanted: str) -> str:
    """Return the container that a request on a pod means. Raises BadRequest in Kubernetes' words."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    regular, init, ephemeral = (
        [c["name"] for c in spec.get(member) or ()]
        for member in ("containers", "initContainers", "ephemeralContainers")
    )
    if wanted:
        if wanted not in (*regular, *init, *ephemeral):
            raise BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(regular) == 1:
        return regular[0]
    text = f"a container name must be specified for pod {name}"
    if regular:
        text += f", choose one of: [{' '.join(regular)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        text += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise BadRequest(text)


def log_error(pod: str, status: int, text: str) -> StatusError:
    """Return the error for a kubelet's answer to a request for logs (registry/generic/rest/response_checker.go)."""
    if status == 500:
        return InternalError(f"Internal error occurred: {text}", {"causes": [{"message": text}]})
    if status == 400:
        return BadRequest(text)
    reason, message = generic_error(status, text)
    error = InternalError(f"{message} ( pods/log {pod})", {"name": pod, "kind": "pods/log"})
    error.status_code, error.status_reason = status, reason
    return error


def log_errors(params: Mapping[str, str]) -> list[FieldError]:
    """Return what is wrong with the options of a log (core ``ValidatePodLogOptions``). Raises BadRequest.

    To choose a stream is behind the gate PodLogsQuerySplitStreams, which is off.
    """
    errors: list[FieldError] = []
    since_time = params.get("sinceTime")
    if since_time and since_time != "null":
        try:
            normal_time(since_time)
        except ValueError as error:
            raise BadRequest(str(error)) from None
    since, tail, limit = (integer(params, name) for name in ("sinceSeconds", "tailLines", "limitBytes"))
    if tail is not None and tail < 0:
        errors.append(invalid("tailLines", tail, "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        errors.append(invalid("limitBytes", limit, "must be greater than 0"))
    if since is not None and since_time is not None:
        errors.append(forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif since is not None and since < 1:
        errors.append(invalid("sinceSeconds", since, "must be greater than 0"))
    if "stream" in params:
        errors.append(forbidden("stream", "may not be specified"))
    return errors


def _check_streams(request: Request) -> None:
    params = request.params
    if not any(boolean(params, name) for name in ("stdin", "stdout", "stderr")):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    if request.subresource == "exec" and not params.get("command"):
        raise BadRequest("you must specify at least one command for the container")


def _proxy_prefix(raw_path: str, request: Request) -> str:
    """Return the part of a path that ends with ``proxy``: what follows is the target's own."""
    marker = f"/{request.resource.plural}/"
    head, _, tail = raw_path.partition(marker)
    return f"{head}{marker}{tail.split('/', 2)[0]}/proxy"


def _options(http: web.BaseRequest, request: Request) -> Object:
    """Return what a connection asks for, as the members of its options (PodExecOptions and so on)."""
    raw_path, _, raw_query = http.raw_path.partition("?")
    if request.subresource == "proxy":
        path = unquote(raw_path.removeprefix(_proxy_prefix(raw_path, request)))
        return {"path": path} if path else {}
    query = parse_multi(raw_query)
    if request.subresource == "portforward":
        return {"ports": [int(port) for port in query["ports"] if port.isdecimal()]} if "ports" in query else {}
    options: Object = {name: True for name in ("stdin", "stdout", "stderr", "tty") if boolean(request.params, name)}
    if request.params.get("container"):
        options["container"] = request.params["container"]
    if query.get("command"):
        options["command"] = query["command"]
    return options


def _check_upgrade(http: web.BaseRequest) -> None:
    """Clients such as godaddy's kubernetes-client ask plainly first and go on with a WebSocket at these very words."""
    if not any("upgrade" in value.lower() for value in http.headers.getall(hdrs.CONNECTION, ())):
        raise BadRequest("Upgrade request required")
