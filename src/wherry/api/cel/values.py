"""The values of CEL that Python has no type for, errors, equality and order.

int, float, str, bytes, bool, None, list and dict stand for themselves; a ``uint`` is a `Uint`. Numbers compare across
their types; nothing else does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
UINT_MAX = (1 << 64) - 1
SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = -62135596800 * SECOND
_LAST = 253402300800 * SECOND


class EvalError(Exception):
    """An expression has no value; the message is that of the CEL library that Kubernetes uses."""


class CostExceeded(EvalError):
    """The evaluation was stopped because it cost too much."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def no_overload() -> EvalError:
    """Return the error of operands that no function takes."""
    return EvalError("no such overload")


class Uint(int):
    """A ``uint``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A ``google.protobuf.Duration`` in nanoseconds."""

    ns: int

    def __post_init__(self) -> None:
        if not INT_MIN <= self.ns <= INT_MAX:
            raise EvalError("integer overflow")


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A ``google.protobuf.Timestamp`` in nanoseconds since 1970."""

    ns: int

    def __post_init__(self) -> None:
        if not _FIRST <= self.ns < _LAST:
            raise EvalError("timestamp overflow")

    def moment(self) -> datetime:
        """Return it in UTC, cut to microseconds."""
        return _EPOCH + timedelta(microseconds=self.ns // 1000)

    @staticmethod
    def of(moment: datetime, nanosecond: int | None = None) -> "Timestamp":
        """Return a moment; `nanosecond` is its fraction of a second when finer than `moment` tells."""
        whole = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
        return Timestamp(whole if nanosecond is None else whole // SECOND * SECOND + nanosecond)


@dataclass(frozen=True, slots=True)
class Optional:
    """An optional value; `NONE` has none."""

    value: Any
    present: bool = True


NONE = Optional(None, False)


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: ``type(1) == int``."""

    name: str


class Struct(dict[str, Any]):
    """An object that an expression made: ``Object.spec{replicas: 1}``; `name` is its type."""

    __slots__ = ("name",)

    def __init__(self, name: str, members: Mapping[str, Any]) -> None:
        super().__init__(members)
        self.name = name


_KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Struct: "map",
    Optional: "optional",
    Duration: "duration",
    Timestamp: "timestamp",
    TypeValue: "type",
    type(None): "null",
}


def kind_of(value: Any) -> str:
    """Return the kind of a value; of an opaque one its type's name."""
    found = _KINDS.get(value.__class__)
    if found is not None:
        return found
    if isinstance(value, Mapping):
        return "map"
    return getattr(value, "cel_type", "object")


_PLAIN = frozenset({bool, int, Uint, float, str, bytes, Duration, Timestamp, TypeValue})
_NUMBERS = frozenset({int, Uint, float})


def equals(left: Any, right: Any) -> bool:
    """Tell whether two values are equal; values of different types are not, but for numbers."""
    a, b = left.__class__, right.__class__
    if a in _PLAIN and b in _PLAIN:
        return bool(left == right) if a is b or (a in _NUMBERS and b in _NUMBERS) else False
    if a is list and b is list:
        return len(left) == len(right) and all(map(equals, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if len(left) != len(right):
            return False
        return all(key in right and equals(value, right[key]) for key, value in left.items())
    if a is Optional and b is Optional:
        return left.present is right.present and equals(left.value, right.value)
    return a is b and bool(left == right)


def order(left: Any, right: Any) -> int:
    """Compare two values: -1, 0 or 1. Raises EvalError when they have no order."""
    a, b = left.__class__, right.__class__
    if (a is b and a in _ORDERED) or (a in _NUMBERS and b in _NUMBERS):
        return -1 if left < right else 1 if left > right else 0
    raise no_overload()


_ORDERED = frozenset({bool, int, Uint, float, str, bytes, Duration, Timestamp})


def show_double(value: float) -> str:
    """Write a number as Go's ``%v`` does: ``5``, ``1.5``, ``1e+06``."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    sign, digits, power = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(power, int)
    exponent = len(digits) + power - 1
    if value != 0 and not -4 <= exponent < 6:
        head = "".join(map(str, digits))
        return f"{'-' if sign else ''}{head[0]}{'.' + head[1:] if head[1:] else ''}e{exponent:+03d}"
    return repr(value).removesuffix(".0") if "e" not in repr(value) else format(Decimal(repr(value)), "f")


def checked_int(value: int) -> int:
    """Return an ``int`` that fits. Raises EvalError."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvalError("integer overflow")


def checked_uint(value: int) -> Uint:
    """Return a ``uint`` that fits. Raises EvalError."""
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise EvalError("unsigned integer overflow")
