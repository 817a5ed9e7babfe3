"""JSON merge patch (RFC 7386)."""

from typing import Any

from wherry.api.errors import BadRequest
from wherry.api.meta import Object
from wherry.api.schema.decode import go_kind


def apply_merge(obj: Object, patch: Any) -> Object:
    """Return `obj` with `patch` merged in: null removes a member, objects merge, anything else replaces.

    Raises BadRequest when the patch is not an object.
    """
    if patch is None:
        raise BadRequest("Invalid JSON Patch")
    if not isinstance(patch, dict):
        kind = go_kind(patch)
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        )
    return _merge(obj, patch)


def _merge(target: Any, patch: dict[str, Any]) -> Object:
    out = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        elif isinstance(value, dict):
            out[name] = _merge(out.get(name), value)
        else:
            out[name] = _pruned(value)
    return out


def _pruned(value: Any) -> Any:
    """Return `value` without the null members of objects in lists."""
    if isinstance(value, dict):
        return {name: _pruned(item) for name, item in value.items() if item is not None}
    return [_pruned(item) for item in value] if isinstance(value, list) else value
