"""Bounds, multiples and ranges of numbers."""

import math
import struct
from typing import Any

from wherry.api import field
from wherry.api.cel.values import show_double
from wherry.api.structural import paths
from wherry.api.structural.formats import known_format

_BITS = {"int32": 32, "int64": 64, "": 64}


def number_check(schema: dict[str, Any]) -> Any:
    """Return the check of a schema's numbers, None when it has no rule for them."""
    kind, form = schema.get("type") or "", known_format(schema)
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if kind not in ("integer", "number") and low is None and high is None and step is None:
        return None
    over, under = bool(schema.get("exclusiveMaximum")), bool(schema.get("exclusiveMinimum"))

    def check(value: Any, path: Any, out: list[Any], old: Any) -> int:
        if value.__class__ is not int and value.__class__ is not float:
            return 0
        if not _in_range(value, kind, form):
            of = f"with format {form}" if form else "(default format)"
            text = f"Checked value must be of type {kind} {of} in {paths.show(path)}"
            out.append(field.invalid("<nil>", "", text))
        found = _problems(value, low, high, step, under, over)
        out.extend(field.invalid(paths.field(path), value, f"{paths.show(path)} in body {text}") for text in found)
        return 2

    return check


def _problems(value: Any, low: Any, high: Any, step: Any, under: bool, over: bool) -> list[str]:
    whole = value.__class__ is int
    out = []
    if step is not None and not _is_multiple(value, step):
        out.append(f"should be a multiple of {_bound(step, whole)}")
    if low is not None and (value <= low if under else value < low):
        out.append(f"should be greater than {'' if under else 'or equal to '}{_bound(low, whole)}")
    if high is not None and (value >= high if over else value > high):
        out.append(f"should be less than {'' if over else 'or equal to '}{_bound(high, whole)}")
    return out


def _is_multiple(value: Any, step: Any) -> bool:
    if value.__class__ is int and float(step).is_integer():
        return int(step) != 0 and value % int(step) == 0
    quotient = value / step
    return bool(quotient == int(quotient)) if math.isfinite(quotient) else False


def _bound(bound: Any, whole: bool) -> str:
    """Write a bound as Go writes an ``int64``, or a ``float64`` when the value is one."""
    if whole and float(bound).is_integer():
        return str(int(bound))
    return show_double(float(bound))


def _in_range(value: Any, kind: str, form: str) -> bool:
    if kind == "integer":
        bits = _BITS.get(form, 64)
        return bool(-(1 << (bits - 1)) <= value < 1 << (bits - 1))
    if form == "float" and math.isfinite(value):
        try:
            struct.pack("f", value)
        except OverflowError:
            return False
    return True
