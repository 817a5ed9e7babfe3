"""The types of structural schemas, and values as those types have them (apiserver ``cel/common/schemas.go``)."""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from wherry.api.cel.functions.times import parse_duration, parse_timestamp
from wherry.api.cel.types import (
    BOOL,
    DOUBLE,
    INT,
    Type,
    list_of,
    map_of,
    object_of,
)
from wherry.api.cel.values import EvalError

Schema = dict[str, Any]
Adapter = Callable[[Any], Any]

MAX_REQUEST = 3 * 1024 * 1024
"""What a request may be long: an unbounded value cannot have more characters or members than fit into it."""

_FORMATTED = {"byte": "bytes", "duration": "duration", "date": "timestamp", "date-time": "timestamp"}
_FORMATTED_SIZE = {"duration": 32, "date": 12, "date-time": 32}
_SMALLEST = {"boolean": 4, "integer": 1, "number": 1, "string": 2, "array": 2}
_ROOT_STRING = Type("string", size=MAX_REQUEST - 2)


def type_of(schema: Schema, name: str = "self", *, root: bool = False) -> Type | None:
    """Return the type of values of `schema`, None when rules cannot see into them.

    `root` adds what every object has: ``apiVersion``, ``kind`` and of ``metadata`` the name and its base.
    """
    if schema.get("x-kubernetes-int-or-string"):
        return Type("dyn", size=MAX_REQUEST - 2)
    match schema.get("type"):
        case "boolean":
            return BOOL
        case "integer":
            return INT
        case "number":
            return DOUBLE
        case "string":
            return _string(schema)
        case "array":
            return _list(schema, name)
        case "object":
            return _object(schema, name, root)
    return _object(schema, name, root) if root else None


def _string(schema: Schema) -> Type:
    form = schema.get("format") or ""
    longest = schema.get("maxLength")
    kind = _FORMATTED.get(form, "string")
    if longest is not None and form not in _FORMATTED_SIZE:
        return Type(kind, size=longest if kind == "bytes" else longest * 4)
    if form not in _FORMATTED and schema.get("enum"):
        return Type(kind, size=max(len(value) for value in schema["enum"] if isinstance(value, str)))
    return Type(kind, size=_FORMATTED_SIZE.get(form, MAX_REQUEST - 2))


def _list(schema: Schema, name: str) -> Type | None:
    items = schema.get("items")
    if not isinstance(items, dict):
        return None
    element = type_of(items, f"{name}.@items", root=bool(items.get("x-kubernetes-embedded-resource")))
    if element is None:
        return None
    most = schema.get("maxItems")
    size = most if most is not None else (MAX_REQUEST - 2) // (smallest(items) + 1)
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    return list_of(element, size=size, list_type=schema.get("x-kubernetes-list-type") or "", keys=keys)


def _object(schema: Schema, name: str, root: bool) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        value = type_of(additional, f"{name}.@values", root=bool(additional.get("x-kubernetes-embedded-resource")))
        if value is None:
            return None
        most = schema.get("maxProperties")
        size = most if most is not None else (MAX_REQUEST - 2) // (smallest(additional) + 6)
        return map_of(Type("string", size=MAX_REQUEST - 2), value, size=size)
    fields: dict[str, Type] = {}
    for key, member in (schema.get("properties") or {}).items():
        found = type_of(member, f"{name}.{key}", root=bool(member.get("x-kubernetes-embedded-resource")))
        if found is not None:
            fields[key] = found
    if root:
        fields.update(apiVersion=_ROOT_STRING, kind=_ROOT_STRING, metadata=_metadata(schema, name))
    return object_of(name, fields)


def _metadata(schema: Schema, name: str) -> Type:
    given = ((schema.get("properties") or {}).get("metadata") or {}).get("properties") or {}
    members = {
        key: type_of(given[key]) or _ROOT_STRING if key in given else _ROOT_STRING for key in ("name", "generateName")
    }
    return object_of(f"{name}.metadata", members)


def smallest(schema: Schema) -> int:
    """Return the least number of characters of a value in JSON."""
    if schema.get("x-kubernetes-int-or-string"):
        return 1
    kind = schema.get("type") or "object"
    if kind in _SMALLEST:
        return _SMALLEST[kind]
    properties = schema.get("properties") or {}
    required = [key for key in schema.get("required") or () if key in properties and "default" not in properties[key]]
    return 2 + sum(len(key) + 4 + smallest(properties[key]) for key in required)


def adapter(schema: Schema) -> Adapter | None:
    """Return the function that gives JSON values the types of `type_of` (doubles, times …); None: they have them."""
    if schema.get("x-kubernetes-int-or-string"):
        return None
    match schema.get("type"):
        case "number":
            return lambda value: float(value) if value.__class__ is int else value
        case "string":
            return _formatted(schema.get("format") or "")
        case "array":
            items = schema.get("items")
            return _of_items(adapter(items)) if isinstance(items, dict) else None
    return _of_members(schema)


def _formatted(form: str) -> Adapter | None:
    parse: Adapter
    match form:
        case "byte":
            parse = base64.b64decode
        case "duration":
            parse = parse_duration
        case "date-time":
            parse = parse_timestamp
        case "date":
            parse = _date
        case _:
            return None

    def adapt(value: Any) -> Any:
        if value.__class__ is not str:
            return value
        try:
            return parse(value)
        except (EvalError, binascii.Error, ValueError):
            return value

    return adapt


def _date(text: str) -> Any:
    return parse_timestamp(f"{text}T00:00:00Z")


def _of_items(each: Adapter | None) -> Adapter | None:
    if each is None:
        return None
    return lambda value: [each(item) for item in value] if value.__class__ is list else value


def _of_members(schema: Schema) -> Adapter | None:
    members = {key: adapter(member) for key, member in (schema.get("properties") or {}).items()}
    changing = {key: step for key, step in members.items() if step is not None}
    additional = schema.get("additionalProperties")
    other = adapter(additional) if isinstance(additional, dict) else None
    nullable = any(member.get("nullable") for member in (schema.get("properties") or {}).values())
    if not changing and other is None and not nullable:
        return None

    def adapt(value: Any) -> Any:
        if value.__class__ is not dict:
            return value
        if other is not None:
            return {key: other(item) for key, item in value.items()}
        # A null member of an object is an absent one.
        return {
            key: changing[key](item) if key in changing else item for key, item in value.items() if item is not None
        }

    return adapt
