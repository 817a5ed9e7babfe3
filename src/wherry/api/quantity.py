"""Resource quantities: ``100m``, ``1Gi``, ``1e3`` (apimachinery ``api/resource``).

`canonical` gives the form in which the API shows a quantity; `parse` gives exact numbers to compute with. Upstream
keeps the text it was given where a quick look says that it is canonical already (``+1`` and ``1.500`` stay), so
`canonical` does too.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal

Format = Literal["BinarySI", "DecimalSI", "DecimalExponent"]

_FORMAT_WRONG: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_NUMERIC_WRONG: Final = "unable to parse numeric part of quantity"
_SUFFIX_WRONG: Final = "unable to parse quantity's suffix"
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX: Final = {exponent // 10: suffix for suffix, exponent in _BINARY.items()}
_MAXIMUM: Final = (1 << 63) - 1
_FAST_DIGITS: Final = 18
_MAX_EXPONENT: Final = 400
"""Beyond it every number is more than a quantity can be, or nothing."""

_NANO: Final = Fraction(1, 10**9)


class QuantityError(ValueError):
    """The text is not a quantity; the message is Kubernetes'."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact quantity; `text` is the form in which it was given, when that is canonical."""

    value: Fraction
    format: Format = "DecimalSI"
    text: str = ""

    @staticmethod
    def parse(text: "str | int | float") -> "Quantity":
        """Parse a quantity. Raises QuantityError."""
        return parse(text)

    def __str__(self) -> str:
        return self.text or _render(self.value, self.format)

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.value + other.value, self.format if self.value else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.value - other.value, self.format if self.value else other.format)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.value, self.format)

    def __lt__(self, other: "Quantity") -> bool:
        return self.value < other.value

    def __le__(self, other: "Quantity") -> bool:
        return self.value <= other.value

    def __gt__(self, other: "Quantity") -> bool:
        return self.value > other.value

    def __ge__(self, other: "Quantity") -> bool:
        return self.value >= other.value

    def __bool__(self) -> bool:
        return bool(self.value)

    def whole(self) -> int:
        """Return the value in units, rounded away from zero."""
        return _away_from_zero(self.value)

    def milli(self) -> int:
        """Return the value in thousandths, rounded away from zero."""
        return _away_from_zero(self.value * 1000)


@lru_cache(maxsize=8192)
def parse(text: str | int | float) -> Quantity:
    """Parse a quantity; a number of JSON is taken as its text. Raises QuantityError."""
    source = _text(text).strip()
    if not source:
        raise QuantityError(_FORMAT_WRONG)
    if source == "0":
        return Quantity(Fraction(0), "DecimalSI", "0")
    positive, value, numerator, denominator, suffix = _split(source)
    base, exponent, form = _interpret(suffix)
    fast = _fast(source, positive, numerator, denominator, base, exponent, form)
    return _slow(value, base, exponent, form) if fast is None else fast


@lru_cache(maxsize=8192)
def canonical(text: str | int | float) -> str:
    """Return the form in which the API shows the quantity. Raises QuantityError."""
    return str(parse(text))


def of(value: Fraction | int, form: Format = "DecimalSI") -> str:
    """Return the canonical text of a number."""
    return _render(Fraction(value), form)


def round_up_milli(text: str | int | float) -> str:
    """Return the canonical text, rounded away from zero to thousandths (defaulting of a ResourceList)."""
    found = parse(text)
    if (found.value * 1000).denominator == 1:
        return str(found)
    return _render(Fraction(found.milli(), 1000), found.format)


def _text(value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAXIMUM:
        return str(int(value))
    return repr(value)


def _split(source: str) -> tuple[bool, str, str, str, str]:
    """Return sign, the number's text, its digits before and after the point, and the suffix."""
    end = len(source)
    at = 1 if source[0] in "+-" else 0
    positive = source[0] != "-"
    while at < end and source[at] == "0":
        at += 1
    if at >= end:
        return positive, "0", "0", "", ""
    start = at
    while at < end and source[at] in "0123456789":
        at += 1
    numerator = source[start:at] or "0"
    denominator = ""
    if at < end and source[at] == ".":
        start = at = at + 1
        while at < end and source[at] in "0123456789":
            at += 1
        denominator = source[start:at]
    start = at
    while at < end and source[at] in "eEinumkKMGTP":
        at += 1
    if at < end and source[at] in "+-":
        at += 1
    while at < end and source[at] in "0123456789":
        at += 1
    if at < end:
        raise QuantityError(_FORMAT_WRONG)
    return positive, source[:start], numerator, denominator, source[start:]


def _interpret(suffix: str) -> tuple[int, int, Format]:
    if suffix in _DECIMAL:
        return 10, _DECIMAL[suffix], "DecimalSI"
    if suffix in _BINARY:
        return 2, _BINARY[suffix], "BinarySI"
    if len(suffix) > 1 and suffix[0] in "eE":
        try:
            return 10, int(suffix[1:]), "DecimalExponent"
        except ValueError:
            pass
    raise QuantityError(_SUFFIX_WRONG)


def _fast(
    source: str, positive: bool, numerator: str, denominator: str, base: int, exponent: int, form: Format
) -> Quantity | None:
    """Upstream's path for what fits 64 bits: the only one that keeps the text it was given."""
    if form == "BinarySI":
        if denominator:
            return None
        precision = 15 - len(numerator) - exponent * 3 // 10 - 1
        scale = 0
    else:
        precision = _FAST_DIGITS - len(numerator) - len(denominator)
        scale = exponent - len(denominator)
    if precision < 0 or scale < -9:
        return None
    shifted = numerator + denominator
    number = int(shifted)
    amount = number << exponent if base == 2 else number
    if abs(amount) > _MAXIMUM:
        return None
    value = amount * Fraction(10) ** min(scale, _MAX_EXPONENT) if base == 10 else Fraction(amount)
    if form == "BinarySI":
        keep = exponent % 10 == 0 and number & 7 != 0
    else:
        keep = scale % 3 == 0 and not shifted.endswith("000") and shifted[0] != "0"
    return Quantity(value if positive else -value, form, source if keep else "")


def _slow(value: str, base: int, exponent: int, form: Format) -> Quantity:
    try:
        amount = Fraction(value.removesuffix(".") if value not in (".", "+.", "-.") else "x")
    except ValueError:
        raise QuantityError(_NUMERIC_WRONG) from None
    negative, amount = amount < 0, abs(amount)
    amount *= Fraction(base) ** min(exponent, _MAX_EXPONENT) if exponent > -_MAX_EXPONENT else Fraction(0)
    nanos = amount / _NANO
    if nanos.denominator != 1:
        amount = _away_from_zero(nanos) * _NANO
    amount = min(amount, Fraction(_MAXIMUM))
    if form == "BinarySI" and 0 < amount < 1:
        form = "DecimalSI"
    return Quantity(-amount if negative else amount, form)


def _render(value: Fraction, form: Format) -> str:
    if value == 0:
        return "0"
    if form == "BinarySI" and not -1024 < value < 1024 and value.denominator == 1:
        mantissa, exponent = value.numerator, 0
        while mantissa % 1024 == 0 and exponent < 6:
            mantissa //= 1024
            exponent += 1
        return f"{mantissa}{_BINARY_SUFFIX.get(exponent, '')}"
    mantissa, exponent = _away_from_zero(value / _NANO), -9
    while mantissa % 1000 == 0 and exponent < 18:
        mantissa //= 1000
        exponent += 3
    if form == "DecimalExponent":
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIX[exponent]}"


def _away_from_zero(value: Fraction) -> int:
    whole = -(-abs(value.numerator) // value.denominator)
    return whole if value >= 0 else -whole
