"""Kubernetes' quantity, semantic version and format libraries."""

import base64
import binascii
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering
from typing import Any, ClassVar
from urllib.parse import urlsplit

from wherry.api import names, quantity
from wherry.api.cel.functions import add, function
from wherry.api.cel.values import INT_MAX, INT_MIN, NONE, EvalError, Optional


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """A resource quantity."""

    cel_type: ClassVar[str] = "kubernetes.Quantity"
    value: quantity.Quantity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.value.value == other.value.value

    def __hash__(self) -> int:
        return hash(self.value.value)

    def __str__(self) -> str:
        return str(self.value)

    def fits(self) -> bool:
        """Tell whether it is an ``int``."""
        return self.value.value.denominator == 1 and INT_MIN <= self.value.value <= INT_MAX


def _quantity(text: str) -> Quantity:
    try:
        return Quantity(quantity.parse(text))
    except quantity.QuantityError as error:
        raise EvalError(str(error)) from None


def _is(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except EvalError:
        return False
    return True


def _comparison(left: Any, right: Any) -> int:
    return -1 if left < right else 1 if right < left else 0


_Q = "kubernetes.Quantity"
add(f"quantity(string) -> {_Q}", _quantity, traversal=(0,))
add("isQuantity(string) -> bool", lambda text: _is(_quantity, text), traversal=(0,))
add(f"{_Q}:isInteger() -> bool", Quantity.fits)
add(f"{_Q}:asApproximateFloat() -> double", lambda found: float(found.value.value))
add(f"sign({_Q}) -> int", lambda found: _comparison(found.value.value, 0))
add(f"{_Q}:isLessThan({_Q}) -> bool", lambda left, right: left.value < right.value)
add(f"{_Q}:isGreaterThan({_Q}) -> bool", lambda left, right: left.value > right.value)
add(f"{_Q}:compareTo({_Q}) -> int", lambda left, right: _comparison(left.value, right.value))
add(f"{_Q}:add({_Q}) -> {_Q}", lambda left, right: Quantity(left.value + right.value))
add(f"{_Q}:sub({_Q}) -> {_Q}", lambda left, right: Quantity(left.value - right.value))
add(f"{_Q}:add(int) -> {_Q}", lambda left, right: Quantity(left.value + quantity.parse(right)))
add(f"{_Q}:sub(int) -> {_Q}", lambda left, right: Quantity(left.value - quantity.parse(right)))


@function(f"{_Q}:asInteger() -> int")
def as_integer(found: Quantity) -> int:
    if not found.fits():
        raise EvalError("cannot convert value to integer")
    return int(found.value.value)


_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
    r"(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Semver:
    """A semantic version; build metadata does not count."""

    cel_type: ClassVar[str] = "kubernetes.Semver"
    numbers: tuple[int, int, int]
    pre: tuple[str, ...]

    def _key(self) -> tuple[Any, ...]:
        # Numeric identifiers come before others; a version without a pre-release comes after those with one.
        pre = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre]
        return (*self.numbers, not self.pre, pre)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.numbers, self.pre))

    def __lt__(self, other: "Semver") -> bool:
        return self._key() < other._key()


def semver(text: str, normalize: bool = False) -> Semver:
    """Return a semantic version; `normalize` mends what is short of one. Raises EvalError."""
    if normalize:
        text = _normalized(text)
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise EvalError(_semver_problem(text))
    major, minor, patch = (int(part) for part in match.groups()[:3])
    return Semver((major, minor, patch), tuple(match[4].split(".")) if match[4] else ())


def _semver_problem(text: str) -> str:
    """Return what the library that Kubernetes uses says of a text that is no version."""
    if not text:
        return "Version string empty"
    parts = text.split(".", 2)
    if len(parts) != 3:
        return "No Major.Minor.Patch elements found"
    parts[2] = re.split(r"[-+]", parts[2])[0]
    for name, part in zip(("Major", "Minor", "Patch"), parts, strict=True):
        if not re.fullmatch(r"\d+", part, re.ASCII):
            return f'Invalid character(s) found in {name.lower()} number "{part}"'
        if len(part) > 1 and part[0] == "0":
            return f'{name} number must not contain leading zeroes "{part}"'
    return f'Invalid character(s) found in prerelease "{text.partition("-")[2]}"'


def _normalized(text: str) -> str:
    text = text.strip().removeprefix("v")
    core = re.match(r"[0-9.]*", text)
    head = core[0] if core else ""
    parts = [part.lstrip("0") or "0" for part in head.split(".")]
    return ".".join(parts + ["0"] * (3 - len(parts))) + text[len(head) :]


_S = "kubernetes.Semver"
add(f"semver(string) -> {_S}", semver, traversal=(0,))
add(f"semver(string, bool) -> {_S}", semver, traversal=(0,))
add("isSemver(string) -> bool", lambda text: _is(semver, text), traversal=(0,))
add("isSemver(string, bool) -> bool", lambda text, lenient: _is(lambda t: semver(t, lenient), text), traversal=(0,))
add(f"{_S}:major() -> int", lambda found: found.numbers[0])
add(f"{_S}:minor() -> int", lambda found: found.numbers[1])
add(f"{_S}:patch() -> int", lambda found: found.numbers[2])
add(f"{_S}:isLessThan({_S}) -> bool", lambda left, right: left < right)
add(f"{_S}:isGreaterThan({_S}) -> bool", lambda left, right: left > right)
add(f"{_S}:compareTo({_S}) -> int", _comparison)


@dataclass(frozen=True, slots=True)
class Format:
    """A named format of strings; `check` says what is wrong with one."""

    cel_type: ClassVar[str] = "kubernetes.NamedFormat"
    name: str
    check: Callable[[str], list[str]]


def _uri(text: str) -> list[str]:
    parts = urlsplit(text)
    return [] if parts.scheme or text.startswith("/") else [f'parse "{text}": invalid URI for request']


def _uuid(text: str) -> list[str]:
    try:
        uuid.UUID(text)
    except ValueError:
        return ["does not match the UUID format"]
    return []


def _byte(text: str) -> list[str]:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ["invalid base64"]
    return []


def _date(text: str) -> list[str]:
    return [] if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else ["invalid date"]


def _datetime(text: str) -> list[str]:
    from wherry.api.cel.functions.times import parse_timestamp

    return [] if _is(parse_timestamp, text) else ["invalid datetime"]


def _prefixed(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    return lambda text: check(text.removesuffix("-") + "a" if text.endswith("-") else text)


FORMATS: dict[str, Format] = {
    name: Format(name, check)
    for name, check in {
        "dns1123Label": names.is_dns1123_label,
        "dns1123Subdomain": names.is_dns1123_subdomain,
        "dns1035Label": names.is_dns1035_label,
        "qualifiedName": names.is_qualified_name,
        "dns1123LabelPrefix": _prefixed(names.is_dns1123_label),
        "dns1123SubdomainPrefix": _prefixed(names.is_dns1123_subdomain),
        "dns1035LabelPrefix": _prefixed(names.is_dns1035_label),
        "labelValue": names.is_label_value,
        "uri": _uri,
        "uuid": _uuid,
        "byte": _byte,
        "date": _date,
        "datetime": _datetime,
    }.items()
}
_F = "kubernetes.NamedFormat"
for _format in FORMATS.values():
    add(f"format.{_format.name}() -> {_F}", lambda found=_format: found)


@function(f"format.named(string) -> optional({_F})")
def named(name: str) -> Optional:
    found = FORMATS.get(name)
    return NONE if found is None else Optional(found)


@function(f"{_F}:validate(string) -> optional(list(string))", traversal=(1,))
def validate(found: Format, text: str) -> Optional:
    problems = found.check(text)
    return Optional(list(problems)) if problems else NONE
