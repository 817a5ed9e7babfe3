"""The operators. ``&&``, ``||``, ``?:`` and comparisons of known types are compiled without these functions."""

import math
from collections.abc import Mapping
from typing import Any

from wherry.api.cel.functions import add, function
from wherry.api.cel.values import (
    NONE,
    Duration,
    EvalError,
    Optional,
    Timestamp,
    Uint,
    checked_int,
    checked_uint,
    equals,
    no_overload,
    order,
)


def _logic(*_: Any) -> Any:
    raise no_overload()


add("_&&_(bool, bool) -> bool", _logic)
add("_||_(bool, bool) -> bool", _logic)
add("_?_:_(bool, A, A) -> A", _logic)


@function("!_(bool) -> bool")
def negate(value: bool) -> bool:
    return not value


@function("_==_(A, A) -> bool", traversal=(0,))
def equal(left: Any, right: Any) -> bool:
    return equals(left, right)


@function("_!=_(A, A) -> bool", traversal=(0,))
def differ(left: Any, right: Any) -> bool:
    return not equals(left, right)


_ORDERED = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
_NUMBERS = ("int", "uint", "double")
_PAIRS = [(a, a) for a in _ORDERED] + [(a, b) for a in _NUMBERS for b in _NUMBERS if a != b]
for _name, _test in {
    "_<_": lambda a, b: order(a, b) < 0,
    "_<=_": lambda a, b: order(a, b) <= 0,
    "_>_": lambda a, b: order(a, b) > 0,
    "_>=_": lambda a, b: order(a, b) >= 0,
}.items():
    for _left, _right in _PAIRS:
        add(f"{_name}({_left}, {_right}) -> bool", _test, traversal=(0,) if _left in ("string", "bytes") else ())


def _exact(value: int, like: int) -> int:
    return checked_uint(value) if like.__class__ is Uint else checked_int(value)


@function("_+_(int, int) -> int", "_+_(uint, uint) -> uint")
def add_integers(left: int, right: int) -> int:
    return _exact(int(left) + int(right), left)


@function("_-_(int, int) -> int", "_-_(uint, uint) -> uint")
def subtract_integers(left: int, right: int) -> int:
    return _exact(int(left) - int(right), left)


@function("_*_(int, int) -> int", "_*_(uint, uint) -> uint")
def multiply_integers(left: int, right: int) -> int:
    return _exact(int(left) * int(right), left)


@function("_/_(int, int) -> int", "_/_(uint, uint) -> uint")
def divide_integers(left: int, right: int) -> int:
    if right == 0:
        raise EvalError("division by zero")
    quotient = abs(int(left)) // abs(int(right))
    return _exact(quotient if (left < 0) == (right < 0) else -quotient, left)


@function("_%_(int, int) -> int", "_%_(uint, uint) -> uint")
def remainder(left: int, right: int) -> int:
    if right == 0:
        raise EvalError("modulus by zero")
    rest = abs(int(left)) % abs(int(right))
    return _exact(-rest if left < 0 else rest, left)


@function("-_(int) -> int")
def minus(value: int) -> int:
    return checked_int(-value)


add("-_(double) -> double", lambda value: -value)
add("_+_(double, double) -> double", lambda left, right: left + right)
add("_-_(double, double) -> double", lambda left, right: left - right)
add("_*_(double, double) -> double", lambda left, right: left * right)


@function("_/_(double, double) -> double")
def divide_doubles(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


add("_+_(string, string) -> string", lambda left, right: left + right, traversal=(0, 1))
add("_+_(bytes, bytes) -> bytes", lambda left, right: left + right, traversal=(0, 1))
add("_+_(list(A), list(A)) -> list(A)", lambda left, right: left + right)
add("_+_(timestamp, duration) -> timestamp", lambda left, right: Timestamp(left.ns + right.ns))
add("_+_(duration, timestamp) -> timestamp", lambda left, right: Timestamp(left.ns + right.ns))
add("_+_(duration, duration) -> duration", lambda left, right: Duration(left.ns + right.ns))
add("_-_(timestamp, duration) -> timestamp", lambda left, right: Timestamp(left.ns - right.ns))
add("_-_(timestamp, timestamp) -> duration", lambda left, right: Duration(left.ns - right.ns))
add("_-_(duration, duration) -> duration", lambda left, right: Duration(left.ns - right.ns))


@function("@in(A, list(A)) -> bool", traversal=(1,))
def in_list(value: Any, items: list[Any]) -> bool:
    return any(equals(value, item) for item in items)


@function("@in(A, map(A, B)) -> bool")
def in_map(value: Any, entries: Mapping[Any, Any]) -> bool:
    return not isinstance(value, (list, dict)) and value in entries


@function("_[_](list(A), int) -> A")
def item(items: list[Any], index: int) -> Any:
    if 0 <= index < len(items):
        return items[index]
    raise EvalError(f"index out of bounds: {index}")


@function("_[_](map(A, B), A) -> B")
def entry(entries: Mapping[Any, Any], key: Any) -> Any:
    try:
        return entries[key]
    except (KeyError, TypeError):
        raise EvalError(f"no such key: {key}") from None


@function("_[?_](list(A), int) -> optional(A)", "_[?_](map(A, B), A) -> optional(B)")
def optional_entry(holder: Any, key: Any) -> Optional:
    try:
        if isinstance(holder, list):
            return Optional(holder[key]) if 0 <= key < len(holder) else NONE
        return Optional(holder[key])
    except (KeyError, TypeError):
        return NONE


@function(
    "_[_](optional(list(A)), int) -> optional(A)",
    "_[?_](optional(list(A)), int) -> optional(A)",
    "_[_](optional(map(A, B)), A) -> optional(B)",
    "_[?_](optional(map(A, B)), A) -> optional(B)",
)
def entry_of_optional(holder: Optional, key: Any) -> Optional:
    return optional_entry(holder.value, key) if holder.present else NONE
