"""Answers ``/openapi/v2`` and ``/openapi/v3`` (kube-openapi ``handler`` and ``handler3``)."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from wherry.api.errors import NotAcceptable, NotFound
from wherry.api.openapi import Documents
from wherry.api.openapi.protobuf import ASKED_AS
from wherry.api.openapi.protobuf import MEDIA_TYPE as PROTOBUF
from wherry.api.resources import Resource
from wherry.api.schema import Schema
from wherry.apiserver.paths import JSON, TEXT, Plain

_JSON_TYPES = frozenset({"*/*", "application/*", JSON})
_V3 = "/openapi/v3/"


class OtherDocuments(Protocol):
    """What another server says of a group version: its path, its whole v2 document and where its v3 document is."""

    v2: dict[str, Any]
    v3_url: str

    @property
    def path(self) -> str: ...


class OpenApi:
    """The provider of ``/openapi/``. Documents are made off the loop's critical path and kept as bytes."""

    def __init__(self, schema: Schema, resources: Iterable[Resource], git_version: str) -> None:
        self.documents = Documents(schema, resources, git_version=git_version)
        self._making = asyncio.Lock()
        self._remotes: tuple[OtherDocuments, ...] = ()

    def merge(self, remotes: Iterable[OtherDocuments]) -> None:
        """Tell of what other servers serve: their group versions belong to the documents too."""
        self._remotes = tuple(remotes)
        self.documents.set_others(
            [(one.path, one.v2) for one in self._remotes if one.v2],
            {one.path.lstrip("/"): one.v3_url for one in self._remotes if one.v3_url},
        )

    async def provide(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Plain:
        """Answer a path below ``/openapi/``. Raises NotFound, NotAcceptable."""
        path = path.rstrip("/")
        if path not in ("/openapi/v2", "/openapi/v3") and not path.startswith(_V3):
            raise NotFound.path()
        accept = headers.get("Accept", "")
        if path == "/openapi/v2":
            make, media = (self.documents.v2, JSON) if _takes_json(accept) else (self.documents.v2_protobuf, PROTOBUF)
            if media is PROTOBUF and not _names_any(accept, ASKED_AS):
                raise NotAcceptable(f"only the following media types are accepted: {JSON}, {PROTOBUF}")
            async with self._making:
                return _answer(await asyncio.to_thread(make), media, params, headers)
        if not _takes_json(accept):
            raise NotAcceptable(f"only the following media types are accepted: {JSON}")
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


def _takes_json(accept: str) -> bool:
    """Clients that know several forms name JSON among them: it is the one that costs least here."""
    return not accept or _names_any(accept, _JSON_TYPES)


def _names_any(accept: str, kinds: frozenset[str]) -> bool:
    return any(part.partition(";")[0].strip() in kinds for part in accept.split(","))


def _answer(body: bytes, media: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Plain:
    digest = hashlib.sha256(body).hexdigest().upper()
    etag = f'"{digest}"'
    if headers.get("If-None-Match") == etag:
        return Plain(b"", media, 304, {"ETag": etag})
    extra = {"ETag": etag, "Vary": "Accept"}
    if params.get("hash") == digest:
        extra["Cache-Control"] = "public, immutable"
    return Plain(body, media, headers=extra)
