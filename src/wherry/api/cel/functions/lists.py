"""Kubernetes' list library, and what later versions of CEL's own add."""

from functools import cmp_to_key
from typing import Any

from wherry.api.cel.functions import add, function
from wherry.api.cel.functions import operators as op
from wherry.api.cel.values import CostExceeded, Duration, EvalError, equals, kind_of, order

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


@function("list(A):slice(int, int) -> list(A)")
def part(items: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise EvalError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvalError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(items):
        raise EvalError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


@function("list(list(A)):flatten() -> list(A)", "list(dyn):flatten(int) -> list(dyn)")
def flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvalError("level must be non-negative")
    out: list[Any] = []
    for item in items:
        if item.__class__ is list and depth:
            out += flatten(item, depth - 1)
        else:
            out.append(item)
    return out


def sort_by(items: list[Any], keys: list[Any]) -> list[Any]:
    """Return the items in the order of their keys. Raises EvalError for keys of several types."""
    if len({kind_of(key) for key in keys}) > 1:
        raise EvalError("list elements must have the same type")
    ordered = cmp_to_key(order)
    places = sorted(range(len(items)), key=lambda at: ordered(keys[at]))
    return [items[at] for at in places]


for _kind in _ORDERED:
    add(f"list({_kind}):sort() -> list({_kind})", lambda items: sort_by(items, items))
    add(f"list(A):@sortByAssociatedKeys(list({_kind})) -> list(A)", sort_by)

add("list(A):reverse() -> list(A)", lambda items: items[::-1])


@function("list(A):distinct() -> list(A)")
def distinct(items: list[Any]) -> list[Any]:
    out: list[Any] = []
    for item in items:
        if not any(equals(item, other) for other in out):
            out.append(item)
    return out


_MOST = 1_000_000
"""More numbers than the budget of an evaluation allows to count."""


@function("lists.range(int) -> list(int)")
def numbers(count: int) -> list[int]:
    if count < 0:
        raise EvalError(f"lists.range: size must be non-negative, got {count}")
    if count > _MOST:
        raise CostExceeded
    return list(range(count))
