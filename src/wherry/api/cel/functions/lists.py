"""Kubernetes' list library, and what later versions of CEL's own add."""

from typing import Any

from wherry.api.cel.functions import add, function
from wherry.api.cel.functions import operators as op
from wherry.api.cel.values import Duration, EvalError, equals, kind_of, order

_ORDERED = ("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration")


def is_sorted(items: list[Any]) -> bool:
    """Tell whether no item is less than the one before it."""
    return all(order(items[at], items[at + 1]) <= 0 for at in range(len(items) - 1))


def minimum(items: list[Any]) -> Any:
    """Return the least item. Raises EvalError for an empty list."""
    if not items:
        raise EvalError("min called on empty list")
    least = items[0]
    for item in items[1:]:
        if order(item, least) < 0:
            least = item
    return least


def maximum(items: list[Any]) -> Any:
    """Return the greatest item. Raises EvalError for an empty list."""
    if not items:
        raise EvalError("max called on empty list")
    greatest = items[0]
    for item in items[1:]:
        if order(item, greatest) > 0:
            greatest = item
    return greatest


for _kind in _ORDERED:
    add(f"list({_kind}):isSorted() -> bool", is_sorted, traversal=(0,))
    add(f"list({_kind}):min() -> {_kind}", minimum, traversal=(0,))
    add(f"list({_kind}):max() -> {_kind}", maximum, traversal=(0,))


def _sum(zero: Any) -> Any:
    def total(items: list[Any]) -> Any:
        out = zero
        for item in items:
            kind = kind_of(item)
            if kind in ("int", "uint"):
                out = op.add_integers(item, out)
            elif kind == "duration":
                out = Duration(out.ns + item.ns)
            else:
                out = out + item
        return out

    return total


add("list(int):sum() -> int", _sum(0), traversal=(0,))
add("list(uint):sum() -> uint", _sum(0), traversal=(0,))
add("list(double):sum() -> double", _sum(0.0), traversal=(0,))
add("list(duration):sum() -> duration", _sum(Duration(0)), traversal=(0,))


@function("list(A):indexOf(A) -> int", traversal=(0,))
def index_of(items: list[Any], value: Any) -> int:
    return next((at for at, item in enumerate(items) if equals(item, value)), -1)


@function("list(A):lastIndexOf(A) -> int", traversal=(0,))
def last_index_of(items: list[Any], value: Any) -> int:
    return next((at for at in range(len(items) - 1, -1, -1) if equals(items[at], value)), -1)
