"""Who may call the node's API: a client certificate of the cluster or a token, and what RBAC says of nodes.

Tokens go to the API server as TokenReviews, questions as SubjectAccessReviews; answers are remembered for a while
(kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web

from wherry.api import errors
from wherry.api.resources import TABLE
from wherry.client.client import Client
from wherry.util import clock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MASTERS = "system:masters"
_TOKEN_LIFE, _ALLOWED_LIFE, _DENIED_LIFE = 120.0, 300.0, 30.0
_MOST = 1000

_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES = (
    ("/stats", ("stats",)),
    ("/metrics", ("metrics",)),
    ("/logs", ("log",)),
    ("/configz", ("configz", "proxy")),
    ("/healthz", ("healthz", "proxy")),
    ("/pods", ("pods", "proxy")),
    ("/runningpods", ("pods", "proxy")),
)


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Gate:
    """Lets requests through to the handlers, or answers 401 or 403."""

    def __init__(self, client: Client, node_name: str) -> None:
        self._client = client
        self._node_name = node_name
        self._users: dict[str, tuple[float, User | None]] = {}
        self._decisions: dict[tuple[User, str, str], tuple[float, bool]] = {}

    @property
    def middleware(self) -> Any:
        """The gate as aiohttp takes it."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            certificate = request.get_extra_info("peercert")
            user = _of_socket(request) or of_certificate(certificate) or await self._of_token(request)
            if user is None:
                raise web.HTTPUnauthorized(text="Unauthorized")
            verb, asked = _VERBS.get(request.method, ""), subresources(request.path)
            if _MASTERS not in user.groups and not await self._may(user, verb, asked):
                text = (
                    f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(asked)}])\n"
                )
                raise web.HTTPForbidden(text=text)
            return await handler(request)

        return check

    async def _of_token(self, request: web.Request) -> User | None:
        kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        token = token.strip()
        if kind.lower() != "bearer" or not token:
            return None
        until, user = self._users.get(token, (0.0, None))
        if until <= clock.monotonic():
            user = await self._review(token)
            _remember(self._users, token, (clock.monotonic() + _TOKEN_LIFE, user))
        return user

    async def _review(self, token: str) -> User | None:
        answer = await self._ask("authentication.k8s.io", "TokenReview", {"token": token})
        found = answer.get("user") or {}
        if not answer.get("authenticated"):
            return None
        extra = tuple((key, tuple(values)) for key, values in sorted((found.get("extra") or {}).items()))
        return User(found.get("username") or "", found.get("uid") or "", tuple(found.get("groups") or ()), extra)

    async def _may(self, user: User, verb: str, asked: tuple[str, ...]) -> bool:
        for subresource in asked:
            if await self._decide(user, verb, subresource):
                return True
        return False

    async def _decide(self, user: User, verb: str, subresource: str) -> bool:
        key = (user, verb, subresource)
        until, allowed = self._decisions.get(key, (0.0, False))
        if until <= clock.monotonic():
            about = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource}
            who = {"user": user.name, "uid": user.uid, "groups": list(user.groups)}
            spec = {**who, "extra": {k: list(v) for k, v in user.extra}, "resourceAttributes": about}
            spec["resourceAttributes"] = {**about, "name": self._node_name}
            allowed = bool((await self._ask("authorization.k8s.io", "SubjectAccessReview", spec)).get("allowed"))
            _remember(self._decisions, key, (clock.monotonic() + (_ALLOWED_LIFE if allowed else _DENIED_LIFE), allowed))
        return allowed

    async def _ask(self, group: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        resource = TABLE.find(group, "v1", f"{kind.lower()}s")
        assert resource is not None
        body = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {}, "spec": dict(spec)}
        try:
            return (await self._client.create(resource, body)).get("status") or {}
        except (errors.StatusError, OSError, TimeoutError) as error:
            raise web.HTTPInternalServerError(text=f"{kind} failed: {error}") from error


def _of_socket(request: web.Request) -> User | None:
    """Return who speaks on the Unix socket: it is open to its owner alone, who could read all keys, too."""
    address = request.get_extra_info("sockname")
    return User("system:apiserver", groups=(_MASTERS,)) if isinstance(address, str) else None


def of_certificate(certificate: Mapping[str, Any] | None) -> User | None:
    """Return the user that a verified client certificate names: its common name, in its organizations."""
    subject = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
    name = next((value for key, value in subject if key == "commonName"), "")
    if not name:
        return None
    groups = tuple(value for key, value in subject if key == "organizationName")
    return User(name, groups=(*groups, "system:authenticated"))


def subresources(path: str) -> tuple[str, ...]:
    """Return the subresources of nodes of which a path needs one."""
    for prefix, found in _SUBRESOURCES:
        if path == prefix or path.startswith(f"{prefix}/"):
            return found
    return ("proxy",)


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    if len(memory) >= _MOST:
        memory.clear()
    memory[key] = value
