"""Answers ``/openapi/v2`` and ``/openapi/v3`` (kube-openapi ``handler`` and ``handler3``)."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping

from wherry.api.errors import NotAcceptable, NotFound
from wherry.api.openapi import Documents
from wherry.api.resources import Resource
from wherry.api.schema import Schema
from wherry.apiserver.paths import JSON, TEXT, Plain

_JSON_TYPES = frozenset({"*/*", "application/*", JSON})
_SERVED = "application/json"
_V3 = "/openapi/v3/"


class OpenApi:
    """The provider of ``/openapi/``. Documents are made off the loop's critical path and kept as bytes."""

    def __init__(self, schema: Schema, resources: Iterable[Resource], git_version: str) -> None:
        self.documents = Documents(schema, resources, git_version=git_version)
        self._making = asyncio.Lock()

    async def provide(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Plain:
        """Answer a path below ``/openapi/``. Raises NotFound, NotAcceptable."""
        path = path.rstrip("/")
        if path not in ("/openapi/v2", "/openapi/v3") and not path.startswith(_V3):
            raise NotFound.path()
        _accept_json(headers.get("Accept", ""))
        if path == "/openapi/v2":
            async with self._making:
                return _answer(await asyncio.to_thread(self.documents.v2), JSON, params, headers)
        if path == "/openapi/v3":
            await self._make_all()
            return _answer(self.documents.v3_index(), TEXT, params, headers)
        found = self.documents.v3(path.removeprefix(_V3))
        if found is None:
            raise NotFound.path()
        return _answer(found, JSON, params, headers)

    async def _make_all(self) -> None:
        """Make every document that the index needs the hash of, giving way between them."""
        for name in self.documents.v3_names():
            self.documents.v3(name)
            await asyncio.sleep(0)


def _accept_json(accept: str) -> None:
    """Clients ask for protobuf first and take JSON when they name it; one that names protobuf alone is refused."""
    if accept and not any(part.partition(";")[0].strip() in _JSON_TYPES for part in accept.split(",")):
        raise NotAcceptable(f"only the following media types are accepted: {_SERVED}")


def _answer(body: bytes, media: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Plain:
    digest = hashlib.sha256(body).hexdigest().upper()
    etag = f'"{digest}"'
    if headers.get("If-None-Match") == etag:
        return Plain(b"", media, 304, {"ETag": etag})
    extra = {"ETag": etag, "Vary": "Accept"}
    if params.get("hash") == digest:
        extra["Cache-Control"] = "public, immutable"
    return Plain(body, media, headers=extra)
