"""Lists whose order does not count: ``x-kubernetes-list-type`` set and map (apiserver ``cel/common``)."""

from typing import Any

from wherry.api.cel.types import Type
from wherry.api.cel.values import equals, no_overload


def is_associative(kind: Type) -> bool:
    """Tell whether values of a type are such lists."""
    return kind.kind == "list" and kind.list_type in ("set", "map")


def same_members(left: Any, right: Any) -> bool:
    """Tell whether two lists have equal members in any order."""
    if not isinstance(left, list) or not isinstance(right, list) or len(left) != len(right):
        return False
    rest = list(right)
    for item in left:
        at = _index(rest, item)
        if at is None:
            return False
        del rest[at]
    return True


def joined(kind: Type, left: Any, right: Any) -> list[Any]:
    """Return ``left + right``: of a set the union, of a map `left` with what `right` has for its keys and more.

    Raises EvalError when an operand is no list, or of a map has no maps.
    """
    if not isinstance(left, list) or not isinstance(right, list):
        raise no_overload()
    out = list(left)
    if kind.list_type == "set":
        out += [item for item in right if _index(left, item) is None]
        return out
    places = {_key(kind, item): at for at, item in enumerate(left)}
    for item in right:
        at = places.get(_key(kind, item))
        if at is None:
            places[_key(kind, item)] = len(out)
            out.append(item)
        else:
            out[at] = item
    return out


def _index(items: list[Any], wanted: Any) -> int | None:
    return next((at for at, item in enumerate(items) if equals(item, wanted)), None)


def _key(kind: Type, item: Any) -> tuple[Any, ...]:
    if not isinstance(item, dict):
        raise no_overload()
    return tuple((item[key].__class__, item[key]) if key in item else None for key in kind.keys)
