"""Keys of list-maps, members of sets, embedded objects (apiextensions ``schema/listtype``, ``schema/objectmeta``)."""

from collections.abc import Callable
from typing import Any

from wherry.api import field, names
from wherry.api.field import FieldError
from wherry.api.meta import Object
from wherry.api.structural import paths
from wherry.api.structural.metadata import conform_metadata
from wherry.api.structural.paths import Path
from wherry.api.structural.validate import key_of

Schema = dict[str, Any]
Walk = Callable[[Any, Path, list[FieldError]], None]


def duplicates(schema: Schema) -> Callable[[Object], list[FieldError]] | None:
    """Return a function that finds what occurs twice in sets and list-maps; None when the schema has none."""
    return _walker(schema, _list_rule)


def embedded(schema: Schema) -> Callable[[Object], list[FieldError]] | None:
    """Return a function that checks embedded objects; None when the schema has none."""
    return _walker(schema, _embedded_rule)


def malformed(schema: Schema) -> Callable[[Object], tuple[list[str], FieldError | None]] | None:
    """Return a function that finds what embedded objects are not decoded with; None when the schema has none.

    It returns the paths of unknown members of their metadata, and what is wrong with the first that is no object.
    """
    walk = _compile(schema, _form_rule)
    if walk is None:
        return None

    def find(obj: Object) -> tuple[list[str], FieldError | None]:
        out: list[Any] = []
        walk(obj, None, out)
        unknown = sorted(found for found in out if isinstance(found, str))
        return unknown, next((found for found in out if not isinstance(found, str)), None)

    return find


def _form_rule(schema: Schema) -> Walk | None:
    return _form if schema.get("x-kubernetes-embedded-resource") else None


def _form(value: Any, path: Path, out: list[Any]) -> None:
    if not isinstance(value, dict):
        return
    out.extend(
        field.invalid(paths.field(paths.child(path, name)), value[name], "must be a string")
        for name in ("apiVersion", "kind")
        if name in value and not isinstance(value[name], str)
    )
    if "metadata" in value:
        place = paths.child(path, "metadata")
        _, strange, error = conform_metadata(value["metadata"])
        if error is not None:
            out.append(field.invalid(paths.field(place), value["metadata"], error))
        out.extend(f"{paths.show(place)}{name.removeprefix('metadata')}" for name in strange)


def _walker(schema: Schema, rule: Callable[[Schema], Walk | None]) -> Callable[[Object], list[FieldError]] | None:
    walk = _compile(schema, rule)
    if walk is None:
        return None

    def find(obj: Object) -> list[FieldError]:
        out: list[FieldError] = []
        walk(obj, None, out)
        return out

    return find


def _compile(schema: Schema, rule: Callable[[Schema], Walk | None]) -> Walk | None:
    own = rule(schema)
    items = schema.get("items")
    each = _compile(items, rule) if isinstance(items, dict) else None
    members = {name: _compile(member, rule) for name, member in (schema.get("properties") or {}).items()}
    members = {name: walk for name, walk in members.items() if walk is not None}
    additional = schema.get("additionalProperties")
    other = _compile(additional, rule) if isinstance(additional, dict) else None
    if own is None and each is None and other is None and not members:
        return None

    def walk(value: Any, path: Path, out: list[FieldError]) -> None:
        if own is not None:
            own(value, path, out)
        if value.__class__ is list and each is not None:
            for at, item in enumerate(value):
                each(item, paths.index(path, at), out)
        elif value.__class__ is dict:
            for name, item in value.items():
                inner = members.get(name)
                if inner is not None:
                    inner(item, paths.child(path, name), out)
                elif other is not None:
                    other(item, paths.key(path, name), out)

    return walk


def _list_rule(schema: Schema) -> Walk | None:
    kind = schema.get("x-kubernetes-list-type")
    if kind == "set":
        return _set_rule
    if kind != "map":
        return None
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())

    def check(value: Any, path: Path, out: list[FieldError]) -> None:
        seen = set()
        for at, item in enumerate(value if isinstance(value, list) else ()):
            if not isinstance(item, dict):
                continue
            key = key_of(item, keys)
            if key in seen:
                shown = {name: item[name] for name in sorted(keys) if name in item}
                out.append(field.duplicate(paths.field(paths.index(path, at)), shown))
            seen.add(key)

    return check


def _set_rule(value: Any, path: Path, out: list[FieldError]) -> None:
    if not isinstance(value, list):
        return
    seen: list[Any] = []
    for at, item in enumerate(value):
        if any(item == other and (item.__class__ is bool) is (other.__class__ is bool) for other in seen):
            out.append(field.duplicate(paths.field(paths.index(path, at)), item))
        else:
            seen.append(item)


def _embedded_rule(schema: Schema) -> Walk | None:
    return _embedded if schema.get("x-kubernetes-embedded-resource") else None


def _embedded(value: Any, path: Path, out: list[FieldError]) -> None:
    if not isinstance(value, dict):
        return
    for name in ("apiVersion", "kind"):
        place = paths.field(paths.child(path, name))
        text = value.get(name)
        if name not in value:
            out.append(field.required(place))
        elif not isinstance(text, str):
            out.append(field.invalid(place, text, "must be a string"))
        elif not text:
            out.append(field.invalid(place, text, "must not be empty"))
        elif name == "apiVersion" and text.count("/") > 1:
            out.append(field.invalid(place, text, f"unexpected GroupVersion string: {text}"))
        elif name == "kind":
            found = ",".join(names.is_dns1035_label(text.lower()))
            if found:
                out.append(field.invalid(place, text, f"may have mixed case, but should otherwise match: {found}"))
    meta = value.get("metadata")
    if isinstance(meta, dict):
        from wherry.api.validation import metadata  # it needs this package for the definitions

        named = {**meta, "name": meta.get("name") or "fakename"}
        place = paths.show(paths.child(path, "metadata"))
        out.extend(
            metadata.validate(named, bool(meta.get("namespace")), metadata.path_segment, place, known_finalizers=False)
        )
