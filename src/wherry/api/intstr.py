"""IntOrString values: a number, a name or a percentage (apimachinery ``util/intstr``)."""

import re

from wherry.api.names import is_percent

_PERCENT = re.compile(r"[+-]?[0-9]+", re.ASCII)


class IntOrStringError(ValueError):
    """The string is neither a percentage nor a number; the message is Kubernetes'."""


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """Return the number, or the percentage of `total` rounded up or down. Raises IntOrStringError."""
    if isinstance(value, int):
        return value
    digits = value.removesuffix("%")
    if digits == value or not _PERCENT.fullmatch(digits):
        raise IntOrStringError("invalid value for IntOrString: invalid type: string is not a percentage")
    product = int(digits) * total
    return -(-product // 100) if round_up else product // 100


def percent_of(value: int | str) -> int | None:
    """Return the percentage of ``25%``, None for a number or another string."""
    if isinstance(value, str) and not is_percent(value):
        return int(value[:-1])
    return None


def number_of(value: int | str) -> int:
    """Return the number, also of a string of digits; 0 for any other string, as Go's ``IntValue``."""
    if isinstance(value, int):
        return value
    try:
        return int(value)
    except ValueError:
        return 0
