"""JSON merge patch (RFC 7386)."""

from typing import Any

from wherry.api.errors import BadRequest
from wherry.api.meta import Object
from wherry.api.schema.decode import go_kind


def apply_merge(obj: Object, patch: Any) -> Object:
    """Return `obj` with `patch` merged in: null removes a member, objects merge, anything else replaces.

    Raises BadRequest when the patch is not an object.
    """
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
            out[name] = value
    return out
