"""JSON patch (RFC 6902) as the API server's library applies it.

Where that library departs from the RFC: ``remove`` of a member that is not there and negative list indexes.
"""

from typing import Any

import jsonpatch
from jsonpointer import JsonPointer, JsonPointerException

from wherry.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from wherry.api.meta import Object
from wherry.api.meta import copy as deep_copy

MAX_OPERATIONS = 10_000
_REJECTED = "the server rejected our request due to an error in our request"


def apply_json(obj: Object, operations: Any) -> Object:
    """Return `obj` with the operations applied in order.

    Raises BadRequest when `operations` is not a list of objects, RequestEntityTooLarge for more than 10,000 of them,
    Invalid when one cannot be applied.
    """
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise BadRequest("error decoding patch: json: cannot unmarshal the patch into Go value of type jsonpatch.Patch")
    if len(operations) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    document: Any = deep_copy(obj)
    for operation in operations:
        try:
            document = _apply(document, operation)
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, KeyError, IndexError, ValueError):
            raise Invalid(_REJECTED, {}) from None
    if not isinstance(document, dict):
        raise Invalid(_REJECTED, {})
    return document


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    kind = operation.get("op")
    operation = _normal(document, operation)
    if kind == "replace" and operation["path"] and _parent_is_map(document, operation["path"]):
        operation = {**operation, "op": "add"}
    if kind == "test" and operation.get("value") is None and not _exists(document, operation["path"]):
        return document
    if kind in ("add", "replace") and "value" not in operation:
        operation = {**operation, "value": None}
    return jsonpatch.JsonPatch([operation]).apply(document, in_place=True)


def _normal(document: Any, operation: dict[str, Any]) -> dict[str, Any]:
    """Return the operation with negative list indexes made positive: -1 is the last element, or behind it for add."""
    out = dict(operation)
    for member in ("path", "from"):
        pointer = out.get(member)
        if not isinstance(pointer, str):
            continue
        head, _, last = pointer.rpartition("/")
        if last.startswith("-") and last[1:].isdigit():
            parent = JsonPointer(head).resolve(document)
            if isinstance(parent, list):
                adds = member == "path" and out.get("op") in ("add", "copy", "move")
                index = int(last) + len(parent) + (1 if adds else 0)
                if index < 0:
                    raise JsonPointerException(f"index {last} is out of bounds")
                out[member] = f"{head}/{index}"
    return out


def _parent_is_map(document: Any, pointer: str) -> bool:
    return isinstance(JsonPointer(pointer.rpartition("/")[0]).resolve(document), dict)


def _exists(document: Any, pointer: str) -> bool:
    try:
        JsonPointer(pointer).resolve(document)
    except JsonPointerException:
        return False
    return True
