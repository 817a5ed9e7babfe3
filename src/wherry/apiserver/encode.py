"""From an answer to bytes: JSON as stored where possible, other forms where asked."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import yaml

from wherry.api import protobuf, schema
from wherry.api.errors import NotAcceptable
from wherry.api.resources import Resource
from wherry.apiserver import negotiate, table
from wherry.apiserver.decode import JSON, MEDIA_TYPES, PROTOBUF, YAML
from wherry.apiserver.negotiate import Form
from wherry.apiserver.registry import Registry
from wherry.apiserver.request import Change, Listed, Made, Stored

Object = dict[str, Any]

_CACHED_BYTES = 64 << 20
"""How much is kept of joined lists; the largest one is kept whatever its size."""


class Encoder:
    """Encodes answers; keeps the joined items of whole collections for as long as they do not change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._joined: dict[tuple[Resource, str], tuple[int, bytes]] = {}
        self._joined_bytes = 0

    def encode(self, answer: Stored | Made | Listed, form: Form, params: Mapping[str, str]) -> tuple[bytes, ...]:
        """Return the body of an answer, in parts: nothing long is copied to put its head before it or its end behind.

        JSON ends with a newline unless it is indented, as Go's encoder and its indentation leave it.
        Raises NotAcceptable, BadRequest.
        """
        if form.plain_json:
            if isinstance(answer, Stored):
                return self._registry.value(answer.record, answer.resource), b"\n"
            if isinstance(answer, Listed):
                return self._list(answer)
        elif form.media == PROTOBUF and not form.kind and not isinstance(answer, Made):
            return (self._protobuf(answer),)
        return (self._write(self._object(answer, form, params.get("includeObject", "")), form),)

    def object_of(self, answer: Listed) -> Object:
        """Return a list as an object."""
        return self._object(answer, negotiate.PLAIN, "")

    def _protobuf(self, answer: Stored | Listed) -> bytes:
        registry, resource = self._registry, answer.resource
        if isinstance(answer, Stored):
            return protobuf.envelope(resource.api_version, resource.kind, registry.protobuf(answer.record, resource))
        items = [registry.protobuf(record, resource) for record in answer.records]
        body = protobuf.list_body(str(answer.revision), answer.next or "", answer.remaining, items)
        return protobuf.envelope(resource.api_version, resource.list_kind, body)

    def _object(self, answer: Stored | Made | Listed, form: Form, include: str) -> Object:
        registry = self._registry
        if isinstance(answer, Listed):
            objects = [registry.obj(record, answer.resource) for record in answer.records]
            metadata = _list_metadata(answer)
            if form.kind:
                return table.transform_list(form, answer.resource, objects, metadata, include)
            items = objects
            if answer.resource.custom is None:
                items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in objects]
            return {**_list_type(answer.resource), "metadata": metadata, "items": items}
        obj = registry.obj(answer.record, answer.resource) if isinstance(answer, Stored) else answer.obj
        return table.transform(form, answer.resource, obj, include) if form.kind else obj

    def _write(self, obj: Object, form: Form) -> bytes:
        if form.media == YAML:
            return yaml.dump(obj, Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True).encode()
        if form.media == PROTOBUF:
            encoded = protobuf.encode(obj, schema.load())
            if encoded is not None:
                return encoded
            raise NotAcceptable(f"only the following media types are accepted: {MEDIA_TYPES}")
        return orjson.dumps(obj, option=orjson.OPT_INDENT_2 if form.pretty else orjson.OPT_APPEND_NEWLINE)

    def _list(self, answer: Listed) -> tuple[bytes, bytes]:
        registry, resource = self._registry, answer.resource
        key = (resource, answer.namespace)
        if answer.version is not None:
            known = self._joined.get(key)
            if known is not None and known[0] == answer.version:
                return _list_head(answer), known[1]
        body = registry.items(answer.records, resource, end=b"]}\n")
        if answer.version is not None and len(answer.records) > 1:
            self._keep(key, answer.version, body)
        return _list_head(answer), body

    def _keep(self, key: tuple[Resource, str], version: int, body: bytes) -> None:
        before = self._joined.pop(key, None)
        self._joined_bytes += len(body) - (len(before[1]) if before is not None else 0)
        if self._joined_bytes > _CACHED_BYTES:
            self._joined.clear()
            self._joined_bytes = len(body)
        self._joined[key] = (version, body)


def _list_type(resource: Resource) -> Object:
    return {"kind": resource.list_kind, "apiVersion": resource.api_version}


def _list_metadata(answer: Listed) -> Object:
    metadata: Object = {"resourceVersion": str(answer.revision)}
    if answer.next or answer.resource.custom is not None:
        metadata["continue"] = answer.next
    if answer.remaining is not None:
        metadata["remainingItemCount"] = answer.remaining
    return metadata


def _list_head(answer: Listed) -> bytes:
    head = orjson.dumps({**_list_type(answer.resource), "metadata": _list_metadata(answer)})
    return head[:-1] + b',"items":['


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes out what is shared as often as it occurs: clients need not know anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_OTHER_TO_GO = re.compile(r"[yYnN]|[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|0[oO][0-7]+", re.ASCII)
"""Text that Go's library reads as a truth value or a number, and PyYAML does not."""


def _text(dumper: Any, text: str) -> Any:
    """Write text as Go's library does: lines as they are, and in double quotes what would be read as something else."""
    tag = "tag:yaml.org,2002:str"
    plain = dumper.resolve(yaml.ScalarNode, text, (True, False)) == tag and not _OTHER_TO_GO.fullmatch(text)
    return dumper.represent_scalar(tag, text, style="|" if "\n" in text else None if plain else '"')


_Dumper.add_representer(str, _text)


_PREFIXES = {
    kind: b'{"type":"' + kind.encode() + b'","object":'
    for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
}

_LENGTH = 4  # bytes before an event in a stream of protobuf


Shared = dict[tuple[Any, ...], bytes]
"""Batches that were encoded, by their form and changes."""


class WatchEncoder:
    """Encodes the events of one watch in its form; `chunked`: as chunks of an answer (RFC 9112, 7.1)."""

    def __init__(
        self, registry: Registry, resource: Resource, form: Form, include: str, *, chunked: bool = True
    ) -> None:
        self._registry = registry
        self._resource = resource
        self._include = include
        self._first = True
        self._form = form
        self._chunked = chunked
        self._shape: Callable[[Object], Object] | None = None
        if form.kind == negotiate.PARTIAL:
            self._shape = lambda obj: table.partial(obj, form.version)
        elif form.kind == negotiate.TABLE:
            self._shape = self._row
        self.nothing = form.kind == negotiate.PARTIAL_LIST
        self._protobuf = form.media == PROTOBUF
        if form.media == YAML:
            raise NotAcceptable(
                f"only the following media types are accepted: {JSON};stream=watch, {PROTOBUF};stream=watch"
            )
        self.media = f"{PROTOBUF};stream=watch" if self._protobuf else JSON

    def encode(self, changes: Sequence[Change], shared: Shared | None = None) -> bytes:
        """Return a batch of events; hundreds of watches that tell the same encode it once when they have `shared` in
        common."""
        key = (self._resource, self._form, self._chunked, *changes)
        if shared is not None and (known := shared.get(key)) is not None:
            return known
        encode = self._frame if self._protobuf else self._line
        data = b"".join([encode(change) for change in changes])
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if shared is not None and self._form.kind != negotiate.TABLE:  # the first row of a watch has columns
            shared[key] = data
        return data

    def messages(self, changes: Sequence[Change]) -> list[bytes]:
        """Return the events one by one, without the lengths that frame them in a stream of bytes."""
        if self._protobuf:
            return [self._frame(change)[_LENGTH:] for change in changes]
        return [self._line(change) for change in changes]

    def _frame(self, change: Change) -> bytes:
        resource = self._resource
        if change.record is not None and self._shape is None:
            body = self._registry.protobuf(change.record, resource)
            return protobuf.watch_frame(change.type, protobuf.envelope(resource.api_version, resource.kind, body))
        obj = change.obj if change.record is None else self._registry.obj(change.record, resource)
        assert obj is not None
        if self._shape is not None and change.type != "ERROR":
            obj = self._shape(obj)
        return protobuf.watch_frame(change.type, protobuf.encode(obj, schema.load()) or b"")

    def _line(self, change: Change) -> bytes:
        prefix = _PREFIXES[change.type]
        if change.record is not None and self._shape is None:
            return prefix + self._registry.value(change.record, self._resource) + b"}\n"
        obj = change.obj if change.record is None else self._registry.obj(change.record, self._resource)
        assert obj is not None
        if self._shape is not None and change.type != "ERROR":
            obj = self._shape(obj)
        elif "kind" in obj:
            obj = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], **obj}
        return prefix + orjson.dumps(obj) + b"}\n"

    def _row(self, obj: Object) -> Object:
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        first, self._first = self._first, False
        version = self._form.version
        return table.table(self._resource, [obj], metadata, include=self._include, version=version, with_columns=first)
