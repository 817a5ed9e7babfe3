"""Optional values."""

from typing import Any

from wherry.api.cel.functions import add, function
from wherry.api.cel.values import NONE, EvalError, Optional

add("optional.of(A) -> optional(A)", Optional)
add("optional.none() -> optional(A)", lambda: NONE)


@function("optional.ofNonZeroValue(A) -> optional(A)")
def of_non_zero(value: Any) -> Optional:
    empty = value is None or value is False or (not isinstance(value, bool) and not _truth(value))
    return NONE if empty else Optional(value)


def _truth(value: Any) -> bool:
    ns = getattr(value, "ns", None)
    return bool(ns) if ns is not None else bool(value)


@function("optional(A):value() -> A")
def value_of(holder: Optional) -> Any:
    if not holder.present:
        raise EvalError("optional.none() dereference")
    return holder.value


add("optional(A):hasValue() -> bool", lambda holder: holder.present)
add("optional(A):or(optional(A)) -> optional(A)", lambda holder, other: holder if holder.present else other)
add("optional(A):orValue(A) -> A", lambda holder, other: holder.value if holder.present else other)
add("list(A):first() -> optional(A)", lambda items: Optional(items[0]) if items else NONE)
add("list(A):last() -> optional(A)", lambda items: Optional(items[-1]) if items else NONE)
add("optional.unwrap(list(optional(A))) -> list(A)", lambda items: [item.value for item in items if item.present])
add("list(optional(A)):unwrapOpt() -> list(A)", lambda items: [item.value for item in items if item.present])
