"""JSON patch (RFC 6902) as the API server's library applies it (evanphx ``json-patch`` version 4).

Where that library departs from the RFC: what stands before the first slash of a path is not looked at, negative indexes
count from the end, a missing member is replaced, copied and tested as null, and only ``replace`` and ``test`` take the
empty path.
"""

import re
from typing import Any

import orjson

from wherry.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from wherry.api.meta import Object
from wherry.api.meta import copy as deep_copy
from wherry.api.schema.decode import go_kind

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024
"""Bytes of JSON that the ``copy`` operations of a patch may add together."""

_REJECTED = "the server rejected our request due to an error in our request"
_MEMBERS = ("op", "path", "from", "value")
_INDEX = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


class _Inapplicable(Exception):
    """An operation cannot be applied; upstream keeps the cause to itself."""


def strange_members(operations: Any) -> list[str]:
    """Return the paths of the members of operations that no operation has."""
    return [
        f"[{at}].{name}"
        for at, operation in enumerate(operations if isinstance(operations, list) else ())
        for name in (operation if isinstance(operation, dict) else ())
        if name not in _MEMBERS
    ]


def apply_json(obj: Object, operations: Any) -> Object:
    """Return `obj` with the operations applied in order; null stands for no operations.

    Raises BadRequest when `operations` is not a list of objects, RequestEntityTooLarge for more than 10,000 of them,
    Invalid when one cannot be applied.
    """
    if operations is None:
        return obj
    if not isinstance(operations, list):
        found = f"json: cannot unmarshal {go_kind(operations)} into Go value of type []handlers.jsonPatchOp"
        raise BadRequest(f"error decoding patch: {found}")
    for one in operations:
        if one is not None and not isinstance(one, dict):
            found = f"json: cannot unmarshal {go_kind(one)} into Go value of type handlers.jsonPatchOp"
            raise BadRequest(f"error decoding patch: {found}")
    if len(operations) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    document: Any = deep_copy(obj)
    copied = 0
    try:
        for operation in operations:
            if operation is not None and operation.get("op") == "copy":
                copied += len(orjson.dumps(_get(*_find(document, _pointer(operation, "from")))))
                if copied > MAX_COPIED:
                    raise _Inapplicable
            document = _apply(document, operation or {})
        orjson.dumps(document)  # fails where it has become too deep
    except (_Inapplicable, orjson.JSONEncodeError, RecursionError):
        raise Invalid(_REJECTED, {}) from None
    if not isinstance(document, dict):
        raise Invalid(_REJECTED, {})
    return document


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    """Change `document` and return it; only a replaced root is another one."""
    given: Any = operation.get("value")
    value = deep_copy(given)
    match operation.get("op"):
        case "add":
            _add(*_find(document, _pointer(operation, "path")), value)
        case "remove":
            _remove(*_find(document, _pointer(operation, "path")))
        case "replace":
            path = _pointer(operation, "path")
            if not path:
                if not isinstance(value, (dict, list)):
                    raise _Inapplicable
                return value
            _replace(*_find(document, path), value)
        case "move":
            source = _find(document, _pointer(operation, "from"))
            moved = _get(*source)
            _remove(*source)
            _add(*_find(document, _pointer(operation, "path")), moved)
        case "copy":
            copied = deep_copy(_get(*_find(document, _pointer(operation, "from"))))
            _add(*_find(document, _pointer(operation, "path")), copied)
        case "test":
            path = _pointer(operation, "path")
            if not _equal(_get(*_find(document, path)) if path else document, value):
                raise _Inapplicable
        case _:
            raise _Inapplicable
    return document


def _pointer(operation: dict[str, Any], member: str) -> str:
    pointer = operation.get(member)
    if not isinstance(pointer, str):
        raise _Inapplicable
    return pointer


def _find(document: Any, pointer: str) -> tuple[Any, str]:
    """Return the object or list that holds what `pointer` names, and the last step."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    if not steps:
        raise _Inapplicable
    holder = document
    for step in steps[:-1]:
        holder = _get(holder, step)
        if not isinstance(holder, (dict, list)):
            raise _Inapplicable
    return holder, steps[-1]


def _index(step: str, length: int) -> int:
    """Return the index below `length` that `step` names; -1 is the last one."""
    if not _INDEX.fullmatch(step):
        raise _Inapplicable
    index = int(step)
    if not -length <= index < length:
        raise _Inapplicable
    return index % length


def _get(holder: Any, step: str) -> Any:
    return holder.get(step) if isinstance(holder, dict) else holder[_index(step, len(holder))]


def _add(holder: Any, step: str, value: Any) -> None:
    if isinstance(holder, dict):
        holder[step] = value
    elif step == "-":
        holder.append(value)
    else:
        holder.insert(_index(step, len(holder) + 1), value)


def _replace(holder: Any, step: str, value: Any) -> None:
    holder[step if isinstance(holder, dict) else _index(step, len(holder))] = value


def _remove(holder: Any, step: str) -> None:
    if isinstance(holder, list):
        del holder[_index(step, len(holder))]
    elif step in holder:
        del holder[step]
    else:
        raise _Inapplicable


def _equal(one: Any, other: Any) -> bool:
    """Compare as JSON text does: 1, 1.0 and true are three values."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and one == other
