"""Whether the defaults of a schema are values that it allows (apiextensions ``schema/defaulting/validation.go``)."""

from dataclasses import replace
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.structural.lists import embedded
from wherry.api.structural.prune import pruner
from wherry.api.structural.rules import rules_of
from wherry.api.structural.validate import ABSENT, validator

Schema = dict[str, Any]
Errors = list[FieldError]


def default_errors(schema: Schema, path: str) -> Errors:
    """Return what is wrong with the defaults of a whole schema."""
    errors: Errors = []
    _visit(schema, path, errors, root=True)
    return errors


def _visit(schema: Schema, path: str, errors: Errors, *, root: bool = False) -> None:
    if "default" in schema:
        _check(schema, schema["default"], f"{path}.default", errors, root=root)
    items = schema.get("items")
    if isinstance(items, dict):
        _visit(items, f"{path}.items", errors)
    for name, member in (schema.get("properties") or {}).items():
        if root and name in ("apiVersion", "kind", "metadata"):
            continue
        _visit(member, f"{path}.properties[{name}]", errors)


def _check(schema: Schema, value: Any, place: str, errors: Errors, *, root: bool) -> None:
    prune = pruner(schema, root=root)
    if prune is not None and prune(value, None, None) is not value:
        errors.append(field.invalid(place, value, "must not have unknown fields"))
    find = embedded({**schema, "x-kubernetes-embedded-resource": True} if root else schema)
    found = find(value) if find is not None else []
    found = found or validator(schema)(value, ABSENT)
    if not found:
        rules = rules_of(schema, whole=False)
        found = rules.errors(value, value, before=[]) if rules is not None else []
    errors.extend(replace(error, field=below(place, error.field)) for error in found)


def below(place: str, name: str) -> str:
    """Return the path of a part of what is at `place`; ``<nil>`` stands for the whole."""
    return place if name == "<nil>" else f"{place}.{name}"
