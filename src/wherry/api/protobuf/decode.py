"""From protobuf to the JSON form."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from wherry.api.meta import Object
from wherry.api.protobuf import wire
from wherry.api.protobuf.messages import Member, Message, messages_of
from wherry.api.schema import Schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ProtobufError(ValueError):
    """The body cannot be read; the message is fit for a 400."""


def decode(raw: bytes, schema: Schema) -> Object:
    """Return the object of an enveloped body, with its apiVersion and kind.

    Raises ProtobufError when the bytes are damaged or the kind has no protobuf form.
    """
    if not raw.startswith(wire.MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        api_version, kind, body = _envelope(memoryview(raw)[len(wire.MAGIC) :])
        message = messages_of(schema).for_kind(api_version, kind)
        if message is None:
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
        return {"apiVersion": api_version, "kind": kind, **_message(body, message)}
    except (wire.WireError, UnicodeDecodeError, orjson.JSONDecodeError, OverflowError) as error:
        raise ProtobufError(str(error)) from error


def _envelope(data: memoryview) -> tuple[str, str, memoryview]:
    api_version = kind = ""
    body = memoryview(b"")
    for number, _, value in wire.fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            for inner, _, text in wire.fields(value):
                if isinstance(text, memoryview):
                    if inner == 1:
                        api_version = str(text, "utf-8")
                    elif inner == 2:
                        kind = str(text, "utf-8")
        elif number == 2:
            body = value
    return api_version, kind, body


def _message(data: memoryview, message: Message) -> Object:
    obj: Object = {}
    for number, kind, value in wire.fields(data):
        member = message.members.get(number)
        if member is not None:
            _take(obj, member, kind, value)
    return obj


def _take(obj: Object, member: Member, kind: int, value: int | memoryview) -> None:
    if member.shape == "inline":
        assert member.message is not None
        obj.update(_message(_view(value), member.message))
    elif member.label == "one":
        obj[member.name] = _value(member, value)
    elif member.label == "map":
        key, entry = _entry(member, _view(value))
        obj.setdefault(member.name, {})[key] = entry
    elif kind == wire.BYTES and member.shape in ("integer", "boolean"):
        obj.setdefault(member.name, []).extend(_packed(member, _view(value)))
    else:
        obj.setdefault(member.name, []).append(_value(member, value))


def _packed(member: Member, data: memoryview) -> list[Any]:
    out, position = [], 0
    while position < len(data):
        number, position = wire.read_varint(data, position)
        out.append(_value(member, number))
    return out


def _entry(member: Member, data: memoryview) -> tuple[str, Any]:
    key: str = ""
    found: Any = _value(member, 0 if member.shape in ("integer", "boolean") else memoryview(b""))
    for number, _, value in wire.fields(data):
        if number == 1:
            key = str(_view(value), "utf-8")
        elif number == 2:
            found = _value(member, value)
    return key, found


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise wire.WireError("wrong wireType")
    return value


def _value(member: Member, value: int | memoryview) -> Any:
    match member.shape:
        case "integer" | "boolean":
            if not isinstance(value, int):
                raise wire.WireError("wrong wireType")
            return bool(value) if member.shape == "boolean" else wire.signed(value)
        case "string":
            return str(_view(value), "utf-8")
        case "bytes":
            return base64.b64encode(_view(value)).decode()
        case "number":
            return wire.double(_view(value))
        case "message":
            assert member.message is not None
            return _message(_view(value), member.message)
    return _special(member, _view(value))


def _special(member: Member, data: memoryview) -> Any:
    found = {number: value for number, _, value in wire.fields(data)}
    match member.shape:
        case "quantity":
            return str(_view(found[1]), "utf-8") if 1 in found else "0"
        case "int-or-string":
            text = found.get(3)
            if found.get(1):
                return str(_view(text), "utf-8") if text is not None else ""
            number = found.get(2, 0)
            return wire.signed(number) if isinstance(number, int) else 0
        case "time" | "micro-time":
            return _time(member, found)
        case "strings":
            return [str(_view(value), "utf-8") for number, _, value in wire.fields(data) if number == 1]
        case "raw":
            return orjson.loads(_view(found[1])) if found.get(1) else None
    return _union(member, data)


def _time(member: Member, found: dict[int, int | memoryview]) -> str | None:
    if not found:
        return None
    seconds, nanos = found.get(1, 0), found.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise wire.WireError("wrong wireType")
    at = _EPOCH + timedelta(seconds=wire.signed(seconds), microseconds=nanos // 1000)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ" if member.shape == "time" else "%Y-%m-%dT%H:%M:%S.%fZ")


def _union(member: Member, data: memoryview) -> Any:
    """A union of JSONSchemaProps: a schema in one field, its alternative in the other."""
    assert member.message is not None
    schema_field = 2 if member.shape == "schema-or-bool" else 1
    schema: Any = None
    others: list[Any] = []
    for number, _, value in wire.fields(data):
        if number == schema_field:
            schema = _message(_view(value), member.message)
        elif member.shape == "schema-or-bool":
            others.append(bool(value))
        elif member.shape == "schema-or-array":
            others.append(_message(_view(value), member.message))
        else:
            others.append(str(_view(value), "utf-8"))
    if schema is not None:
        return schema
    return (others or [False])[0] if member.shape == "schema-or-bool" else others
