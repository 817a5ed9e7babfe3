"""Applies what an expression of a mutating policy made: an apply configuration or a JSON patch."""

from collections.abc import Mapping
from typing import Any

from wherry.api import meta
from wherry.api import patch as patches
from wherry.api.cel.values import Struct
from wherry.api.errors import StatusError
from wherry.api.managedfields.merge import child_type, element_of, merge
from wherry.api.managedfields.validate import join_errors, typed_errors
from wherry.api.schema.types import Type, TypeSchema

Object = dict[str, Any]


class ChangeError(Exception):
    """The change cannot be applied."""


def apply_configuration(schema: TypeSchema, obj: Object, value: Any) -> Object:
    """Return a new object: `obj` with the ``Object{…}`` that an expression made merged in. Raises ChangeError.

    What would replace a list or map as a whole is refused: it would remove what the expression did not name.
    """
    config = to_json(value)
    errors = typed_errors(schema.root, config)
    if errors:
        why = f"failed to convert patch object to typed object: {join_errors(errors)}"
        raise ChangeError(f"error applying patch: {why}")
    atomics = list(_atomics(schema.root, config, ""))
    if atomics:
        why = f"may not mutate atomic arrays, maps or structs: {', '.join(atomics)}"
        raise ChangeError(f"error applying patch: invalid ApplyConfiguration: {why}")
    return meta.copy(merge(schema.root, obj, config))


def _atomics(kind: Type, value: Any, path: str) -> Any:
    if isinstance(value, dict) and kind.kind in ("struct", "map"):
        if kind.atomic:
            yield path
        for name, item in value.items():
            yield from _atomics(child_type(kind, name), item, f"{path}.{name}")
    elif isinstance(value, list) and kind.kind == "list":
        if kind.atomic:
            yield path
        for index, item in enumerate(value):
            yield from _atomics(element_of(kind), item, f"{path}[{index}]")


def json_patch(obj: Object, value: Any) -> Object:
    """Return a new object: `obj` with the list of ``JSONPatch{…}`` applied; `obj` when a test among them fails.

    Raises ChangeError.
    """
    operations = []
    for one in value:
        operation = {key: to_json(item) for key, item in one.items()}
        if not operation.get("from"):
            operation.pop("from", None)
        operations.append(operation)
    changed = meta.copy(obj)
    for operation in operations:
        try:
            changed = patches.apply_json(changed, [operation])
        except StatusError as error:
            if operation.get("op") == "test":
                return obj
            raise ChangeError(f"JSON Patch: {error.message}") from None
    return changed


def to_json(value: Any) -> Any:
    """Return a value of an expression as plain JSON. Raises ChangeError for a type whose name is not its path."""
    return _json(value, value.name if isinstance(value, Struct) else "")


def _json(value: Any, path: str) -> Any:
    if isinstance(value, Struct):
        if value.name != path:
            raise ChangeError(f"type mismatch: unexpected type name {value.name!r}, expected {path!r}")
        return {key: _json(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, Mapping):
        return {key: _json(item, path) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, path) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str | float):
        return value
    if isinstance(value, int):
        return int(value)
    raise ChangeError(f"a value of the type {type(value).__name__} cannot be marshalled to JSON")
