"""The paths that are no resources: health, version, discovery, OpenAPI, metrics, the list of paths, OpenID."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from wherry.api.errors import MethodNotAllowed, NotFound
from wherry.api.resources import BUILTIN_GROUPS
from wherry.apiserver.discovery import Discovery
from wherry.apiserver.health import Health
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.negotiate import is_pretty

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
        """Answer a path. Raises NotFound, MethodNotAllowed."""
        root = path.split("/", 2)[1] if path.startswith("/") else ""
        if root in ("livez", "readyz", "healthz"):
            code, text = self._health.answer(path, params)
            return Plain(text.encode(), TEXT, code, {"X-Content-Type-Options": "nosniff"})
        if method not in ("GET", "HEAD"):
            if root in ("api", "apis", "version"):
                raise MethodNotAllowed(details={})
            return NOT_FOUND
        if root in ("api", "apis"):
            return await self._discover(path, params, headers)
        if path in ("/", "/index.html"):
            return Plain(orjson.dumps({"paths": self.known()}, option=orjson.OPT_INDENT_2))
        if path in ("/version", "/version/"):
            return Plain(self._version)
        if path == "/metrics":
            return Plain(self.metrics.text().encode(), _METRICS)
        if path == "/metrics/slis":
            return Plain(self._health.metrics().encode(), _METRICS)
        if path in self.tables:
            return Plain(self.tables[path](), TEXT)
        if path in self.documents:
            media, make = self.documents[path]
            return Plain(orjson.dumps(make()), media, headers={"Cache-Control": "public, max-age=3600"})
        for prefix, provider in self.providers.items():
            if path.startswith(prefix):
                return await provider(path, params, headers)
        return NOT_FOUND

    async def _discover(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Plain:
        document = self._discovery.document(path, headers.get("Accept", ""))
        if document is None:
            root, _, group = path.strip("/").partition("/")
            if root == "apis" and group.partition("/")[0] not in BUILTIN_GROUPS:
                return NOT_FOUND
            raise NotFound.path()
        if headers.get("If-None-Match") == document.etag and document.etag:
            return Plain(b"", document.media, 304, {"ETag": document.etag})
        extra = {"ETag": document.etag} if document.etag else {}
        if document.varies:
            extra["Vary"] = "Accept"
        body = document.body
        if document.media.startswith(JSON) and is_pretty(params, headers.get("User-Agent", "")):
            body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
        return Plain(body, document.media, headers=extra)

    def known(self) -> list[str]:
        """Return every path that is served, for ``/``."""
        return sorted({*_PATHS, *self._discovery.paths(), *self._health.paths()})
