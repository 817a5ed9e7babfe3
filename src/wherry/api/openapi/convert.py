"""From the definitions, which are JSON schemas, to OpenAPI v2 and v3 schemas."""

from functools import cache
from importlib import resources as package_data
from typing import Any

import orjson

from wherry.api.schema.load import Schema
from wherry.api.schema.types import Field, Type

Json = dict[str, Any]

_V2, _V3 = "#/definitions/", "#/components/schemas/"
_SPECIAL_V2: dict[str, Json] = {
    "Quantity": {"type": "string"},
    "IntOrString": {"type": "string", "format": "int-or-string"},
}
_SPECIAL_V3: dict[str, Json] = {
    "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "IntOrString": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
}
_ZERO = {"string": "", "integer": 0, "number": 0, "boolean": False}


def definition_v2(schema: Schema, name: str) -> Json:
    """Return one definition for OpenAPI v2."""
    raw = schema.definitions[name]
    special = _SPECIAL_V2.get(name.rpartition(".")[2])
    if special is not None:
        return {"description": raw.get("description", ""), **special}
    return _object(raw, lambda _, member: _value(member, _V2))


def definition_v3(schema: Schema, name: str) -> Json:
    """Return one definition for OpenAPI v3: with defaults and the values of enumerations."""
    raw = schema.definitions[name]
    special = _SPECIAL_V3.get(name.rpartition(".")[2])
    if special is not None:
        return {"description": raw.get("description", ""), **special}
    kind = schema.type_of(name)
    required = set(raw.get("required", ()))

    def member(field: str, value: Json) -> Json:
        return _member_v3(name, kind.fields.get(field), field, value, field in required)

    return _object(raw, member)


def references(value: Any) -> set[str]:
    """Return the names of the definitions that a definition refers to."""
    if isinstance(value, dict):
        found = {value["$ref"].removeprefix("#/$defs/")} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(item) for key, item in value.items() if key != "$ref"))
    return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()


def _object(raw: Json, convert: Any) -> Json:
    out = {key: value for key, value in raw.items() if key not in ("properties", "type", "oneOf")}
    if "type" in raw:
        out["type"] = _type(raw["type"])
    if "properties" in raw:
        out["properties"] = {
            name: convert(name, _without_kinds(name, member)) for name, member in raw["properties"].items()
        }
    return out


def _without_kinds(name: str, member: Json) -> Json:
    """The published schemas name the kind's own apiVersion and kind as the only values; upstream's do not."""
    if name in ("apiVersion", "kind") and "enum" in member:
        return {key: value for key, value in member.items() if key != "enum"}
    return member


def _type(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _value(member: Json, prefix: str) -> Json:
    out: Json = {}
    for key, value in member.items():
        if key == "type":
            out[key] = _type(value)
        elif key == "$ref":
            out[key] = prefix + value.removeprefix("#/$defs/")
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = _value(value, prefix)
        else:
            out[key] = value
    return out


def _member_v3(owner: str, field: Field | None, name: str, raw: Json, required: bool) -> Json:
    out = _value(raw, _V3)
    default = _default(owner, field, name, required)
    if default is not None:
        out["default"] = default
    values = _enums().get(field.type.go) if field is not None else None
    if values is not None:
        out["enum"] = values
        listed = "\n".join(f' - `"{value}"`' for value in values)
        out["description"] = f"{out.get('description', '')}\n\nPossible enum values:\n{listed}"
    elif field is not None and field.type.element is not None and "items" in out:
        values = _enums().get(field.type.element.go)
        if values is not None:
            out["items"]["enum"] = values
    if "$ref" in out and len(out) > 1:
        reference = out.pop("$ref")
        out["allOf"] = [{"$ref": reference}]
    return out


def _default(owner: str, field: Field | None, name: str, required: bool) -> Any:
    """Values that are no pointers have their zero value as default: structs always, scalars where required."""
    short = ".".join(owner.split(".")[-3:])
    known = _defaults().get(f"{short}.{name}")
    if known is not None:
        return known
    if field is None:
        return None
    kind: Type = field.type
    if kind.kind == "struct" and field.emit == "zero":
        return {}
    if kind.kind in _ZERO and required and field.emit == "zero":
        return _ZERO[kind.kind]
    return None


@cache
def _rows() -> list[list[str]]:
    text = (package_data.files("wherry.api") / "data" / "openapi.tsv").read_text()
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


@cache
def _enums() -> dict[str, list[str]]:
    return {name: orjson.loads(values) for kind, name, values in _rows() if kind == "enum"}


@cache
def _defaults() -> dict[str, Any]:
    return {name: orjson.loads(value) for kind, name, value in _rows() if kind == "default"}
