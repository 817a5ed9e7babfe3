"""Answers ``/openapi/v2`` and ``/openapi/v3`` (kube-openapi ``handler`` and ``handler3``)."""

import asyncio
import gzip
import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from wherry.api.openapi import Documents, protobuf, protobuf3
from wherry.api.resources import Resource
from wherry.api.schema import Schema
from wherry.apiserver import negotiate
from wherry.apiserver.paths import JSON, NOT_FOUND, TEXT, Plain
from wherry.util import clock

_JSON_TYPES = frozenset({"*/*", "application/*", JSON})
_NOT_ACCEPTABLE = Plain(b"", TEXT, 406)
_NO_DOCUMENT = Plain(b"", "", 404)
_YEAR = timedelta(days=365)
_V3 = "/openapi/v3/"
_GZIP_FROM = 1400


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
        self._small: dict[str, tuple[str, bytes]] = {}

    def merge(self, remotes: Iterable[OtherDocuments]) -> None:
        """Tell of what other servers serve: their group versions belong to the documents too."""
        self._remotes = tuple(remotes)
        self.documents.set_others(
            [(one.path, one.v2) for one in self._remotes if one.v2],
            {one.path.lstrip("/"): one.v3_url for one in self._remotes if one.v3_url},
        )

    async def provide(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Plain:
        """Answer a path below ``/openapi/``."""
        if path not in ("/openapi/v2", "/openapi/v3") and not path.startswith(_V3):
            return NOT_FOUND
        accept = headers.get("Accept", "")
        if path == "/openapi/v2":
            return await self._v2(accept, headers)
        if path == "/openapi/v3":
            await self._make_all()
            body = self.documents.v3_index()
            return _answer(body, TEXT, hashlib.sha256(body).hexdigest().upper(), headers)
        return await self._v3(path.removeprefix(_V3), accept, params.get("hash", ""), headers)

    async def _v2(self, accept: str, headers: Mapping[str, str]) -> Plain:
        form = _form(accept, protobuf.ASKED_AS)
        if not form:
            return _NOT_ACCEPTABLE
        make, media = (self.documents.v2, JSON) if form == JSON else (self.documents.v2_protobuf, protobuf.MEDIA_TYPE)
        async with self._making:
            body = await asyncio.to_thread(make)
            digest = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest().upper())
            answer = _answer(body, media, digest, headers)
            answer.headers["Vary"] = "Accept-Encoding, Accept"
            if len(answer.body) >= _GZIP_FROM and _takes_gzip(headers.get("Accept-Encoding", "")):
                answer.headers["Content-Encoding"] = "gzip"
                answer.body = await self._compressed(body, media, digest)
        return answer

    async def _compressed(self, body: bytes, media: str, digest: str) -> bytes:
        """Return the v2 document of a form compressed, which is kept until the document changes.

        The v3 documents are sent as they are, as upstream has it.
        """
        kept = self._small.get(media)
        if kept is None or kept[0] != digest:
            kept = self._small[media] = digest, await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
        return kept[1]

    async def _v3(self, name: str, accept: str, asked: str, headers: Mapping[str, str]) -> Plain:
        """Answer with one document, for ever where its hash is asked for; who asks for another hash is sent there."""
        found = self.documents.v3(name)
        if found is None:
            return _NO_DOCUMENT
        form = _form(accept, protobuf3.ASKED_AS)
        if not form:
            return _NOT_ACCEPTABLE
        digest = self.documents.v3_hash(name, found)
        media = JSON if form == JSON else protobuf3.MEDIA_TYPE
        if asked and asked != digest:
            location = self.documents.v3_url(name, found)
            return Plain(b"", media, 301, {"Location": location, "ETag": f'"{digest}"', "Vary": "Accept"})
        body = found
        if form != JSON:
            body = await asyncio.to_thread(self.documents.v3_protobuf, name, found)
        answer = _answer(body, media, digest, headers)
        if asked:
            until = (clock.now() + _YEAR).strftime("%a, %d %b %Y %H:%M:%S GMT")
            answer.headers |= {"Cache-Control": "public, immutable", "Expires": until}
        return answer

    async def _make_all(self) -> None:
        """Make every document that the index needs the hash of, giving way between them."""
        for name in self.documents.v3_names():
            self.documents.v3(name)
            await asyncio.sleep(0)


def _form(accept: str, protobuf_types: frozenset[str]) -> str:
    """Return JSON or the media type of protobuf as it was asked for, whichever is named first; '' for neither."""
    for media, _ in negotiate.clauses(accept or "*/*"):
        if media in _JSON_TYPES:
            return JSON
        if media in protobuf_types:
            return media
    return ""


def _takes_gzip(accept_encoding: str) -> bool:
    """Tell whether an ``Accept-Encoding`` header names gzip with a weight that is not zero.

    Not `negotiate.takes_gzip`, which knows no weights: upstream serves this document by another library.
    """
    for clause in accept_encoding.split(","):
        coding, _, weight = clause.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.strip().removeprefix("q=").strip("0.") != "" or not weight
    return False


def _answer(body: bytes, media: str, digest: str, headers: Mapping[str, str]) -> Plain:
    etag = f'"{digest}"'
    extra = {"ETag": etag, "Vary": "Accept"}
    known = {tag.strip().removeprefix("W/") for tag in headers.get("If-None-Match", "").split(",")}
    if etag in known or "*" in known:
        return Plain(b"", media, 304, extra)
    return Plain(body, media, headers=extra)
