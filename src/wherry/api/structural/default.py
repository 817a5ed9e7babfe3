"""Filling in what is absent (apiextensions ``schema/defaulting``).

A null where the schema allows none counts as absent: it is replaced by the default, or dropped when there is none.
"""

from collections.abc import Callable
from typing import Any

from wherry.api import meta

Schema = dict[str, Any]
Defaulter = Callable[[Any], Any]

_ABSENT: Any = object()


def defaulter(schema: Schema, *, root: bool = False, drop_null: bool = True) -> Defaulter | None:
    """Return the function that defaults a value of `schema`, None when there is nothing to default below it.

    It returns a new value where something changes and shares the rest with the given one. `drop_null`: nulls that the
    schema does not allow are dropped where there is no default.
    """
    items = schema.get("items")
    properties = schema.get("properties") or {}
    if isinstance(items, dict) and not properties:
        return _of_items(items, drop_null)
    if root:
        properties = {name: member for name, member in properties.items() if name not in ("apiVersion", "kind")}
    additional = schema.get("additionalProperties")
    other = additional if isinstance(additional, dict) else None
    if not properties and other is None:
        return None
    return _of_object(properties, other, drop_null)


def _default_of(schema: Schema) -> Any:
    value = schema.get("default", _ABSENT)
    return _ABSENT if value is None and not schema.get("nullable") else value


def _fresh(value: Any) -> Any:
    return meta.copy({"": value})[""] if isinstance(value, (dict, list)) else value


def _of_object(properties: dict[str, Schema], other: Schema | None, drop_null: bool) -> Defaulter:
    inner = {name: defaulter(member, drop_null=drop_null) for name, member in properties.items()}
    given = {name: value for name, member in properties.items() if (value := _default_of(member)) is not _ABSENT}
    null = {name for name, member in properties.items() if member.get("nullable")}
    other_inner = defaulter(other, drop_null=drop_null) if other is not None else None
    other_default = _default_of(other) if other is not None else _ABSENT
    other_null = other is None or bool(other.get("nullable"))

    def apply(value: Any) -> Any:
        if value.__class__ is not dict:
            return value
        out = None
        for name, default in given.items():
            if name not in value:
                out = out if out is not None else dict(value)
                out[name] = _fresh(default)
        for name, item in value.items() if out is None else list(out.items()):
            if name in inner:
                step, default, allowed = inner[name], given.get(name, _ABSENT), name in null
            else:
                step, default, allowed = other_inner, other_default, other_null
            new = item
            if item is None and not allowed and (drop_null or default is not _ABSENT):
                new = _fresh(default)
            if step is not None and new is not _ABSENT:
                new = step(new)
            if new is not item:
                out = out if out is not None else dict(value)
                if new is _ABSENT:
                    del out[name]
                else:
                    out[name] = new
        return value if out is None else out

    return apply


def _of_items(items: Schema, drop_null: bool) -> Defaulter | None:
    step, default = defaulter(items, drop_null=drop_null), _default_of(items)
    if step is None and default is _ABSENT:
        return None
    allowed = bool(items.get("nullable"))

    def apply(value: Any) -> Any:
        if value.__class__ is not list:
            return value
        out = None
        for at, item in enumerate(value):
            new = _fresh(default) if item is None and not allowed and default is not _ABSENT else item
            if step is not None:
                new = step(new)
            if new is not item:
                out = out if out is not None else list(value)
                out[at] = new
        return value if out is None else out

    return apply
