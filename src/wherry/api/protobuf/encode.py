"""From the JSON form to protobuf."""

import base64
import struct
from collections.abc import Iterable
from typing import Any

import orjson

from wherry.api.meta import Object
from wherry.api.protobuf.messages import Member, Message, messages_of
from wherry.api.protobuf.wire import FIXED64, MAGIC, VARINT, delimited, tagged, varint
from wherry.api.schema import Schema
from wherry.util import clock


def encode(obj: Object, schema: Schema) -> bytes | None:
    """Return the enveloped form of a built-in object or list, None when its kind has no protobuf form."""
    body = encode_body(obj, schema)
    return None if body is None else envelope(obj["apiVersion"], obj["kind"], body)


def encode_body(obj: Object, schema: Schema) -> bytes | None:
    """Return the form of a built-in object without its envelope, as it is an item of a list."""
    message = messages_of(schema).for_kind(obj.get("apiVersion", ""), obj.get("kind", ""))
    return None if message is None else _message(obj, message)


def list_body(resource_version: str, continuation: str, remaining: int | None, items: Iterable[bytes]) -> bytes:
    """Return the body of a list of encoded items: every list kind has its metadata and items in the same fields."""
    metadata = delimited(1, b"") + delimited(2, resource_version.encode()) + delimited(3, continuation.encode())
    if remaining is not None:
        metadata += tagged(4, VARINT) + varint(remaining)
    return delimited(1, metadata) + b"".join([delimited(2, item) for item in items])


def watch_frame(kind: str, enveloped: bytes) -> bytes:
    """Return one event of a protobuf watch: four bytes of length, then a WatchEvent around the enveloped object."""
    event = delimited(1, kind.encode()) + delimited(2, delimited(1, enveloped))
    return struct.pack(">I", len(event)) + event


def envelope(api_version: str, kind: str, body: bytes) -> bytes:
    """Return ``runtime.Unknown`` around a body, with the magic bytes before it."""
    type_meta = delimited(1, api_version.encode()) + delimited(2, kind.encode())
    return MAGIC + delimited(1, type_meta) + delimited(2, body) + delimited(3, b"") + delimited(4, b"")


def _message(obj: Object, message: Message) -> bytes:
    parts: list[bytes] = []
    for number, member in message.members.items():
        if member.shape == "inline":
            assert member.message is not None
            parts.append(delimited(number, _message(obj, member.message)))
            continue
        value = obj.get(member.name)
        if value is None:
            continue
        if member.label == "one":
            parts.append(_field(number, member, value))
        elif member.label == "list":
            parts += [_field(number, member, item) for item in value]
        else:
            parts += [
                delimited(number, delimited(1, key.encode()) + _field(2, member, item))
                for key, item in sorted(value.items())
            ]
    return b"".join(parts)


def _field(number: int, member: Member, value: Any) -> bytes:
    match member.shape:
        case "integer" | "boolean":
            return tagged(number, VARINT) + varint(int(value))
        case "number":
            return tagged(number, FIXED64) + struct.pack("<d", value)
    return delimited(number, _bytes(member, value))


def _bytes(member: Member, value: Any) -> bytes:
    match member.shape:
        case "string":
            return str(value).encode()
        case "bytes":
            return base64.b64decode(value)
        case "message":
            assert member.message is not None
            return _message(value, member.message)
        case "quantity":
            return delimited(1, str(value).encode())
        case "int-or-string":
            return _int_or_string(value)
        case "time" | "micro-time":
            at = clock.parse(value)
            seconds = int(at.replace(microsecond=0).timestamp())
            return tagged(1, VARINT) + varint(seconds) + tagged(2, VARINT) + varint(at.microsecond * 1000)
        case "strings":
            return b"".join(delimited(1, item.encode()) for item in value)
        case "raw":
            return delimited(1, orjson.dumps(value))
    return _union(member, value)


def _int_or_string(value: int | str) -> bytes:
    is_text = isinstance(value, str)
    number, text = (0, value.encode()) if isinstance(value, str) else (value, b"")
    return tagged(1, VARINT) + varint(is_text) + tagged(2, VARINT) + varint(number) + delimited(3, text)


def _union(member: Member, value: Any) -> bytes:
    assert member.message is not None
    if member.shape == "schema-or-bool":
        if isinstance(value, bool):
            return tagged(1, VARINT) + varint(value)
        return tagged(1, VARINT) + varint(1) + delimited(2, _message(value, member.message))
    if isinstance(value, dict):
        return delimited(1, _message(value, member.message))
    return b"".join(
        delimited(2, item.encode() if isinstance(item, str) else _message(item, member.message)) for item in value
    )
