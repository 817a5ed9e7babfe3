"""Bounds, multiples and ranges of numbers."""

import math
import struct
from collections.abc import Callable
from typing import Any

from wherry.api import field
from wherry.api.cel.values import show_double
from wherry.api.structural import paths
from wherry.api.structural.formats import known_format

Problem = tuple[Any, str] | None
"""The value to show and what is wrong with it, % for its path."""
Test = Callable[[Any, Any], Problem]

_BITS = {"int32": 32, "int64": 64, "": 64}
_EXACT = float((1 << 53) - 1)
_EPSILON = 1e-9


def number_check(schema: dict[str, Any]) -> Any:
    """Return the check of a schema's numbers, None when it has no rule for them."""
    kind, form = schema.get("type") or "", known_format(schema)
    rules = [
        _rule(prefix, schema[name], test, kind, form)
        for prefix, name, test in (
            ("MultipleOf", "multipleOf", _multiple),
            ("Minimum boundary", "minimum", _least(bool(schema.get("exclusiveMinimum")))),
            ("Maximum boundary", "maximum", _most(bool(schema.get("exclusiveMaximum")))),
        )
        if schema.get(name) is not None
    ]
    if kind not in ("integer", "number") and not rules:
        return None

    def check(value: Any, path: Any, out: list[Any], old: Any) -> int:
        if value.__class__ is not int and value.__class__ is not float:
            return 0
        if not _in_range(value, kind, form):
            out.append(_out_of_range("Checked", kind, form, path))
        for rule in rules:
            rule(value, path, out)
        return 2

    return check


def _rule(prefix: str, bound: Any, test: Test, kind: str, form: str) -> Callable[[Any, Any, list[Any]], None]:
    """Return the check of one rule. An integer is compared with the whole part of the bound, if the type has it."""
    sound = _in_range(bound, kind, form)
    whole, exact = _int64(bound), float(bound)

    def check(value: Any, path: Any, out: list[Any]) -> None:
        if not sound:
            out.append(_out_of_range(prefix, kind, form, path))
        native = sound and value.__class__ is int
        problem = test(value, whole) if native else test(float(value), exact)
        if problem is not None:
            shown, text = problem
            out.append(field.invalid(paths.field(path), shown, text.replace("%", paths.show(path))))

    return check


def _multiple(value: Any, factor: Any) -> Problem:
    if factor <= 0:
        return factor, f"factor MultipleOf declared for % must be positive: {_shown(factor)}"
    if value.__class__ is int:
        fits = value % factor == 0
    else:
        fits = is_whole(1 / factor * value if factor < 1 else value / factor)
    return None if fits else (value, f"% in body should be a multiple of {_shown(factor)}")


def _least(exclusive: bool) -> Test:
    words = "% in body should be greater than " + ("" if exclusive else "or equal to ")

    def test(value: Any, low: Any) -> Problem:
        return (value, words + _shown(low)) if value < low or (exclusive and value == low) else None

    return test


def _most(exclusive: bool) -> Test:
    words = "% in body should be less than " + ("" if exclusive else "or equal to ")

    def test(value: Any, high: Any) -> Problem:
        return (value, words + _shown(high)) if value > high or (exclusive and value == high) else None

    return test


def is_whole(number: float) -> bool:
    """Tell whether a float is an integer within a billionth of itself, as JSON numbers are exact (go-openapi swag)."""
    if not -_EXACT <= number <= _EXACT:
        return False
    nearest = math.copysign(math.floor(abs(number) + 0.5), number)
    return number == nearest or abs(number - nearest) < _EPSILON * abs(nearest)


def _int64(bound: Any) -> int:
    """Return the whole part, of what is too large the least integer, as processors convert it."""
    limit = 1 << 63
    return int(bound) if math.isfinite(bound) and -limit <= bound < limit else -limit


def _shown(bound: Any) -> str:
    """Write a bound as Go writes an ``int64`` or a ``float64``."""
    return str(bound) if bound.__class__ is int else show_double(bound)


def _out_of_range(prefix: str, kind: str, form: str, path: Any) -> Any:
    of = f"with format {form}" if form else "(default format)"
    return field.invalid("<nil>", "", f"{prefix} value must be of type {kind} {of} in {paths.show(path)}")


def _in_range(value: Any, kind: str, form: str) -> bool:
    if kind == "integer":
        bits = _BITS.get(form, 64)
        return bool(-(1 << (bits - 1)) <= value < 1 << (bits - 1)) and float(value).is_integer()
    if form == "float" and math.isfinite(value):
        try:
            struct.pack("<f", value)
        except OverflowError:
            return False
    return True
