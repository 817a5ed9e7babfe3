"""Whether the defaults of a schema are values that it allows (apiextensions ``schema/defaulting/validation.go``)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from wherry.api import field, meta
from wherry.api.field import FieldError
from wherry.api.structural.lists import embedded, malformed
from wherry.api.structural.prune import pruner
from wherry.api.structural.rules import rules_of
from wherry.api.structural.validate import ABSENT, validator

Schema = dict[str, Any]
Errors = list[FieldError]

_EMBEDDED = "x-kubernetes-embedded-resource"
_TYPE_META = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True, slots=True)
class _Whole:
    """The object around a value: its `schema`, `around`, which makes it of the value, and whether that is metadata."""

    schema: Schema
    around: Callable[[Any], Any]
    in_metadata: bool = False

    def item(self) -> "_Whole":
        """Return what is around a member of a list."""
        return replace(self, around=lambda value: self.around([value]))

    def member(self, name: str, *, in_metadata: bool) -> "_Whole":
        """Return what is around a member of an object."""
        return replace(self, around=lambda value: self.around({name: value}), in_metadata=in_metadata)


def default_errors(schema: Schema, path: str) -> Errors:
    """Return what is wrong with the defaults of a whole schema."""
    errors: Errors = []
    _visit({**schema, _EMBEDDED: True}, path, errors, _object(schema), root=True)
    return errors


def _object(schema: Schema) -> _Whole:
    named = {"apiVersion": "validation/v1", "kind": "Validation"}
    return _Whole({**schema, _EMBEDDED: True}, lambda value: {**named, **value})


def _visit(schema: Schema, path: str, errors: Errors, whole: _Whole, *, root: bool = False) -> None:
    is_object = bool(schema.get(_EMBEDDED))
    if is_object:
        whole = _object(schema)
    if schema.get("default") is not None:
        _check(schema, schema["default"], f"{path}.default", errors, whole)
    items = schema.get("items")
    if isinstance(items, dict):
        _visit(items, f"{path}.items", errors, whole.item())
    for name, member in (schema.get("properties") or {}).items():
        typed = is_object and name in _TYPE_META
        if root and typed:
            continue
        below_it = whole.member(name, in_metadata=whole.in_metadata or typed)
        _visit(member, f"{path}.properties[{name}]", errors, below_it)


def _check(schema: Schema, value: Any, place: str, errors: Errors, whole: _Whole) -> None:
    if whole.in_metadata:
        wrong = _misfits(whole.schema, whole.around(meta.copy(value)))
        if wrong:
            shown = str(wrong[0]) if len(wrong) == 1 else f"[{', '.join(map(str, wrong))}]"
            errors.append(field.invalid(place, value, f"must result in valid metadata: {shown}"))
            return
        found: Errors = []
    else:
        prune = pruner(schema, root=bool(schema.get(_EMBEDDED)))
        if prune is not None and prune(value, None, None) is not value:
            errors.append(field.invalid(place, value, "must not have unknown fields"))
        found = _misfits(schema, value)
    found = found or validator(_loosened(schema))(value, ABSENT) or _unruly(schema, value)
    errors.extend(replace(error, field=below(place, error.field)) for error in found)


def _misfits(schema: Schema, value: Any) -> Errors:
    """Return what is wrong with the types and the metadata of the objects in a value."""
    find, judge = malformed(schema), embedded(schema)
    wrong = find(value)[1] if find is not None else None
    if wrong is not None:
        return [wrong]
    return judge(value) if judge is not None else []


def _unruly(schema: Schema, value: Any) -> Errors:
    """Return which rules a default breaks, where it is there already and where it is new."""
    rules = rules_of(schema, whole=False)
    if rules is None:
        return []
    return rules.errors(value, before=[]) or rules.errors(value, value, before=[])


def _loosened(schema: Schema) -> Schema:
    """Return a schema that does not know the types of what is integer or string: upstream does not check these here."""
    out = dict(schema)
    if out.pop("x-kubernetes-int-or-string", None):
        for name in ("anyOf", "allOf"):
            out.pop(name, None)
    for name in ("items", "additionalProperties"):
        if isinstance(out.get(name), dict):
            out[name] = _loosened(out[name])
    if out.get("properties"):
        out["properties"] = {name: _loosened(member) for name, member in out["properties"].items()}
    return out


def below(place: str, name: str) -> str:
    """Return the path of a part of what is at `place`; ``<nil>`` stands for the whole."""
    return place if name == "<nil>" else f"{place}.{name}"
