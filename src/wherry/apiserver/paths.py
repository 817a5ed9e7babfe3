"""The paths that are no resources: health, version, discovery, OpenAPI, metrics, the list of paths, OpenID."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from wherry.api.errors import MethodNotAllowed, NotFound
from wherry.api.resources import BUILTIN_GROUPS
from wherry.apiserver.discovery import Discovery, in_form
from wherry.apiserver.health import Health
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.negotiate import is_pretty, refuse_unknown, untransformed

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"

_PATHS = (
    "/.well-known/openid-configuration",
    "/api",
    "/api/v1",
    "/apis",
    "/apis/",
    "/healthz",
    "/livez",
    "/metrics",
    "/metrics/slis",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
)


@dataclass(slots=True)
class Plain:
    """An answer that is bytes already."""

    body: bytes
    media: str = JSON
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)


NOT_FOUND = Plain(b"404 page not found\n", TEXT, 404, {"X-Content-Type-Options": "nosniff"})
"""What nobody serves at all; beside what is served the answer is a Status."""

Provider = Callable[[str, Mapping[str, str], Mapping[str, str]], Awaitable[Plain]]


class Paths:
    """Answers paths. `providers` serve whole prefixes (``/openapi/``); `documents` are fixed JSON objects by path,
    `tables` are texts for people, which ``/`` does not list."""

    def __init__(self, discovery: Discovery, health: Health, version: Mapping[str, Any]) -> None:
        self._discovery = discovery
        self._health = health
        self._version = orjson.dumps(version, option=orjson.OPT_INDENT_2)
        self.metrics = Metrics()
        self.documents: dict[str, tuple[str, Callable[[], Any]]] = {}
        self.tables: dict[str, Callable[[], bytes]] = {}
        self.providers: dict[str, Provider] = {}

    async def answer(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Plain:
        """Answer a path. Raises NotFound, MethodNotAllowed, NotAcceptable.

        Upstream finds the API versions, ``/version`` and what OpenID needs by method and media type, too; other paths
        answer whatever method they are asked.
        """
        root = path.split("/", 2)[1] if path.startswith("/") else ""
        if root in ("livez", "readyz", "healthz"):
            code, text = self._health.answer(path, params)
            return Plain(text.encode(), TEXT, code, {"X-Content-Type-Options": "nosniff"})
        if root in ("api", "apis"):
            return self._discover(method, path, params, headers)
        if path in ("/", "/index.html"):
            return Plain(orjson.dumps({"paths": self.known()}, option=orjson.OPT_INDENT_2))
        if path == "/metrics" and method == "DELETE":
            self.metrics.reset()
            return Plain(b"metrics reset\n", TEXT)
        if path == "/metrics":
            return Plain(self.metrics.text().encode(), _METRICS)
        if path == "/metrics/slis":
            return Plain(self._health.metrics().encode(), _METRICS)
        if path in self.tables:
            return Plain(self.tables[path](), TEXT)
        for routed in ("/version", *self.documents):
            if path == routed or path.startswith(f"{routed}/"):
                return self._routed(method, path, routed, headers)
        for prefix, provider in self.providers.items():
            if path.startswith(prefix):
                return await provider(path, params, headers)
        return NOT_FOUND

    def _routed(self, method: str, path: str, found: str, headers: Mapping[str, str]) -> Plain:
        if path.rstrip("/") != found:
            raise NotFound.path()
        if method != "GET":
            raise MethodNotAllowed(details={})
        media = JSON if found == "/version" else self.documents[found][0]
        refuse_unknown(headers.get("Accept", ""), media)
        if found == "/version":
            return Plain(self._version)
        body = orjson.dumps(self.documents[found][1]())
        return Plain(body, media, headers={"Cache-Control": "public, max-age=3600"})

    def _discover(self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Plain:
        accept = headers.get("Accept", "")
        document = self._discovery.document(path, accept)
        root, _, rest = path.strip("/").partition("/")
        group, _, version = rest.partition("/")
        if document is None:
            if root == "apis" and group not in BUILTIN_GROUPS:
                return NOT_FOUND
            raise NotFound.path()
        # The list of groups, each group and what custom kinds have are no routes.
        routed = root == "api" or (bool(version) and group in BUILTIN_GROUPS)
        if routed and method != "GET":
            raise MethodNotAllowed(details={})
        if headers.get("If-None-Match") == document.etag and document.etag:
            return Plain(b"", document.media, 304, {"ETag": document.etag})
        extra = {"ETag": document.etag} if document.etag else {}
        if document.varies:
            extra["Vary"] = "Accept"
        body, media = document.body, document.media
        if media == JSON:
            media = untransformed(accept, routed=routed).media
            if media != JSON:
                body = in_form(body, media)
        if media.startswith(JSON) and is_pretty(params, headers.get("User-Agent", "")):
            body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
        return Plain(body, media, headers=extra)

    def known(self) -> list[str]:
        """Return every path that is served, for ``/``."""
        return sorted({*_PATHS, *self._discovery.paths(), *self._health.paths()})
