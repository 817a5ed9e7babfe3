"""CEL's standard functions: sizes, tests of strings, conversions between types."""

import math
from typing import Any

from wherry.api.cel.functions import add, function
from wherry.api.cel.functions.operators import in_list
from wherry.api.cel.functions.times import format_duration, format_timestamp, parse_duration, parse_timestamp
from wherry.api.cel.regex import compiled
from wherry.api.cel.values import (
    INT_MAX,
    INT_MIN,
    SECOND,
    UINT_MAX,
    Duration,
    EvalError,
    Timestamp,
    TypeValue,
    Uint,
    checked_int,
    checked_uint,
    kind_of,
    show_double,
)

for _kind in ("string", "bytes", "list(A)", "map(A, B)"):
    add(f"size({_kind}) -> int", len)
    add(f"{_kind}:size() -> int", len)

add("string:startsWith(string) -> bool", str.startswith, traversal=(1,))
add("string:endsWith(string) -> bool", str.endswith, traversal=(1,))
add("string:contains(string) -> bool", lambda text, part: part in text, traversal=(0,))


@function("string:matches(string) -> bool", "matches(string, string) -> bool", traversal=(0, 1))
def matches(text: str, pattern: str) -> bool:
    return compiled(pattern).is_in(text)


@function("dyn(A) -> dyn")
def dyn(value: Any) -> Any:
    return value


@function("type(A) -> type(A)")
def type_of(value: Any) -> TypeValue:
    kind = kind_of(value)
    return TypeValue(_TYPE_NAMES.get(kind, kind))


_TYPE_NAMES = {
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
    "optional": "optional_type",
}

add("int(int) -> int", lambda value: value)
add("int(uint) -> int", lambda value: checked_int(int(value)))
add("int(timestamp) -> int", lambda value: value.ns // SECOND)
add("int(duration) -> int", lambda value: value.ns // SECOND)


@function("int(double) -> int")
def int_of_double(value: float) -> int:
    if not math.isfinite(value) or not INT_MIN < value < INT_MAX:
        raise EvalError("integer overflow")
    return int(value)


@function("int(string) -> int", traversal=(0,))
def int_of_string(text: str) -> int:
    return _integer(text, "int")


def _integer(text: str, kind: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise _not_convertible(kind)
    value = int(text)
    low, high = (INT_MIN, INT_MAX) if kind == "int" else (0, UINT_MAX)
    if not low <= value <= high:
        raise _not_convertible(kind)
    return value


def _not_convertible(kind: str) -> EvalError:
    return EvalError(f"type conversion error from 'string' to '{kind}'")


add("uint(uint) -> uint", lambda value: value)
add("uint(int) -> uint", checked_uint)
add("uint(string) -> uint", lambda text: Uint(_integer(text, "uint")), traversal=(0,))


@function("uint(double) -> uint")
def uint_of_double(value: float) -> Uint:
    if not math.isfinite(value) or not 0 <= value <= UINT_MAX:
        raise EvalError("unsigned integer overflow")
    return Uint(int(value))


add("double(double) -> double", lambda value: value)
add("double(int) -> double", float)
add("double(uint) -> double", float)


@function("double(string) -> double", traversal=(0,))
def double_of_string(text: str) -> float:
    try:
        if "_" in text or text != text.strip():
            raise ValueError
        return float(text)
    except ValueError:
        raise _not_convertible("double") from None


_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})

add("bool(bool) -> bool", lambda value: value)


@function("bool(string) -> bool", traversal=(0,))
def bool_of_string(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise _not_convertible("bool")


add("string(string) -> string", lambda value: value)
add("string(bool) -> string", lambda value: "true" if value else "false")
add("string(int) -> string", str)
add("string(uint) -> string", lambda value: str(int(value)))
add("string(timestamp) -> string", format_timestamp)
add("string(duration) -> string", format_duration)


add("string(double) -> string", show_double)


@function("string(bytes) -> string", traversal=(0,))
def string_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvalError("invalid UTF-8 in bytes, cannot convert to string") from None


add("bytes(bytes) -> bytes", lambda value: value)
add("bytes(string) -> bytes", str.encode, traversal=(0,))
add("timestamp(timestamp) -> timestamp", lambda value: value)
add("timestamp(string) -> timestamp", parse_timestamp, traversal=(0,))
add("timestamp(int) -> timestamp", lambda value: Timestamp(value * SECOND))
add("duration(duration) -> duration", lambda value: value)
add("duration(string) -> duration", parse_duration, traversal=(0,))
add("duration(int) -> duration", lambda value: Duration(value))


@function("sets.contains(list(A), list(A)) -> bool", traversal=(0,))
def sets_contains(holder: list[Any], wanted: list[Any]) -> bool:
    return all(in_list(value, holder) for value in wanted)


@function("sets.intersects(list(A), list(A)) -> bool", traversal=(0,))
def sets_intersects(left: list[Any], right: list[Any]) -> bool:
    return any(in_list(value, right) for value in left)


@function("sets.equivalent(list(A), list(A)) -> bool", traversal=(0,))
def sets_equivalent(left: list[Any], right: list[Any]) -> bool:
    return sets_contains(left, right) and sets_contains(right, left)
