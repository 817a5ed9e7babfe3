"""Dropping the members that a schema does not name (apiextensions ``schema/pruning``)."""

from collections.abc import Callable
from typing import Any

from wherry.api.structural import paths
from wherry.api.structural.metadata import conform_metadata
from wherry.api.structural.paths import Path

Schema = dict[str, Any]
Pruner = Callable[[Any, Path, "list[str] | None"], Any]
"""Takes a value, its path and a list to which the paths of dropped members are added; returns the pruned value."""

_TYPE_META = frozenset({"apiVersion", "kind", "metadata"})


def pruner(schema: Schema, *, root: bool = False) -> Pruner | None:
    """Return the pruner of a schema, None when it keeps everything. `root`: the schema is that of a whole object."""
    if schema.get("items") is not None and not schema.get("properties"):
        return _of_items(schema)
    members = {name: pruner(member) for name, member in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    keep = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or additional is True
    other = pruner(additional) if isinstance(additional, dict) else None
    if isinstance(additional, dict):
        keep = True
    if root:
        members = {**members, **dict.fromkeys(_TYPE_META)}
    elif schema.get("x-kubernetes-embedded-resource"):
        members = {**members, **dict.fromkeys(_TYPE_META), "metadata": _prune_metadata}
    if keep and other is None and not any(members.values()):
        return None
    return _of_object(members, keep, other)


def _prune_metadata(value: Any, path: Path, unknown: list[str] | None) -> Any:
    """Prune the metadata of an embedded object, which whatever the schema says is that of every object."""
    conformed, _, error = conform_metadata(value)
    if error is not None:
        return value
    return value if conformed == value else conformed


def _of_items(schema: Schema) -> Pruner | None:
    items = pruner(schema["items"]) if isinstance(schema["items"], dict) else None
    if items is None:
        return None

    def prune(value: Any, path: Path, unknown: list[str] | None) -> Any:
        if value.__class__ is not list:
            return value
        out = None
        for at, item in enumerate(value):
            pruned = items(item, paths.index(path, at), unknown)
            if pruned is not item:
                out = out if out is not None else list(value)
                out[at] = pruned
        return value if out is None else out

    return prune


def _of_object(members: dict[str, Pruner | None], keep: bool, other: Pruner | None) -> Pruner:
    def prune(value: Any, path: Path, unknown: list[str] | None) -> Any:
        if value.__class__ is not dict:
            return value
        out = None
        for name, item in value.items():
            if name in members:
                inner = members[name]
            elif keep:
                inner = other
            else:
                if unknown is not None:
                    unknown.append(paths.show(paths.child(path, name)))
                out = out if out is not None else dict(value)
                del out[name]
                continue
            if inner is not None and (item.__class__ is dict or item.__class__ is list or inner is _prune_metadata):
                pruned = inner(item, paths.child(path, name), unknown)
                if pruned is not item:
                    out = out if out is not None else dict(value)
                    out[name] = pruned
        return value if out is None else out

    return prune
