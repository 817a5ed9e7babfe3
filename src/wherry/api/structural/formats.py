"""The formats of strings that schemas may name; others are ignored (apiextensions ``validation/formats.go``)."""

import base64
import binascii
import ipaddress
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from wherry.api import names
from wherry.api.cel.functions.times import parse_duration, parse_timestamp
from wherry.api.cel.values import EvalError

_HOSTNAME = re.compile(r"[a0s](?:-?[a0s]{0,62})?|(?:[a0s](?:[a0s-]{0,61}[a0s])?\.)+a{2,63}")
"""One label, or several of which the last is of letters; of the classes that `_hostname` makes of characters."""
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+|[^@<>]*<[^@\s<>]+@[^@\s<>]+>")
_UUID = r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s[0-9a-f]{3}-?[0-9a-f]{12}"
_WORDS = re.compile(r"(\d+)\s*([A-Za-zµ]+)")
_UNITS = ("ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk")
_UNIT_STEMS = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")


def _succeeds(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except (EvalError, ValueError, binascii.Error):
        return False
    return True


def _pattern(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _hostname(text: str) -> bool:
    """Take letters, digits and symbols of all scripts (kube-openapi ``strfmt.IsHostname``); ``_`` is none of them."""
    if len(text.encode()) > 255 or any(len(label.encode()) > 63 for label in text.split(".")):
        return False
    return _HOSTNAME.fullmatch("".join(map(_class, text))) is not None


def _class(char: str) -> str:
    if char in "-.":
        return char
    if char.isascii() and char.isdigit():
        return "0"
    return {"L": "a", "S": "s"}.get(unicodedata.category(char)[0], "?")


def _uri(text: str) -> bool:
    if not text or any(ord(char) < 33 or ord(char) == 127 for char in text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.scheme) or text.startswith("/")
    except ValueError:
        return False


def _duration(text: str) -> bool:
    """Take Go's durations, and any text with a number before a unit (kube-openapi ``strfmt.ParseDuration``)."""
    if _succeeds(parse_duration, text):
        return True
    units = (unit.lower() for _, unit in _WORDS.findall(text))
    return any(unit in _UNITS or unit.startswith(_UNIT_STEMS) for unit in units)


def _luhn(text: str) -> bool:
    digits = [int(char) for char in re.sub(r"[^0-9]", "", text)]
    if not 12 < len(digits) < 20:
        return False
    doubled = [d if at % 2 else (d * 2 - 9 if d > 4 else d * 2) for at, d in enumerate(reversed(digits), 1)]
    return sum(doubled) % 10 == 0


def _isbn(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if re.fullmatch(r"\d{9}[\dX]", digits):
        return sum((10 if c == "X" else int(c)) * (10 - at) for at, c in enumerate(digits)) % 11 == 0
    if re.fullmatch(r"\d{13}", digits):
        return sum(int(c) * (3 if at % 2 else 1) for at, c in enumerate(digits)) % 10 == 0
    return False


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _pattern(r"[0-9a-fA-F]{24}"),
    "uri": _uri,
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "hostname": _hostname,
    "ipv4": lambda text: "." in text and names.parse_ip(text) is not None,
    "ipv6": lambda text: _succeeds(ipaddress.IPv6Address, text),
    "cidr": lambda text: "/" in text and _succeeds(lambda t: ipaddress.ip_network(t, strict=False), text),
    "mac": _pattern(r"(?:[0-9A-Fa-f]{2}([:-])){5,7}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2,3}[0-9A-Fa-f]{4}"),
    "uuid": _pattern(_UUID % ("[0-9a-f]", "[0-9a-f]")),
    "uuid3": _pattern(_UUID % ("3", "[0-9a-f]")),
    "uuid4": _pattern(_UUID % ("4", "[89ab]")),
    "uuid5": _pattern(_UUID % ("5", "[89ab]")),
    "isbn": _isbn,
    "isbn10": lambda text: len(re.sub(r"[\s-]", "", text)) == 10 and _isbn(text),
    "isbn13": lambda text: len(re.sub(r"[\s-]", "", text)) == 13 and _isbn(text),
    "creditcard": _luhn,
    "ssn": _pattern(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _pattern(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _pattern(
        r"rgb\(\s*(?:\d{1,2}|1\d\d|2[0-4]\d|25[0-5])\s*(?:,\s*(?:\d{1,2}|1\d\d|2[0-4]\d|25[0-5])\s*){2}\)"
    ),
    "byte": lambda text: bool(text) and _succeeds(lambda t: base64.b64decode(t.replace("\n", ""), validate=True), text),
    "password": lambda text: True,
    "date": lambda text: re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None and _succeeds(date.fromisoformat, text),
    "duration": _duration,
    "date-time": lambda text: _succeeds(parse_timestamp, text),
    "datetime": lambda text: _succeeds(parse_timestamp, text),
    "k8s-short-name": lambda text: not names.is_dns1123_label(text),
    "k8s-long-name": lambda text: not names.is_dns1123_subdomain(text),
}
_NUMBERS = {"integer": ("int32", "int64"), "number": ("float", "double")}
_BY_NORMAL_NAME = {name.replace("-", ""): check for name, check in FORMATS.items()}


def check_of(name: str) -> Callable[[str], bool] | None:
    """Return the check of a format of strings, None for one that nobody knows. Dashes do not count."""
    return _BY_NORMAL_NAME.get(name.replace("-", ""))


def known_format(schema: dict[str, Any]) -> str:
    """Return the format of a schema, empty when it is none that its type has: such a format is ignored."""
    name, kind = str(schema.get("format") or ""), schema.get("type") or ""
    if kind in ("", "string"):
        return name if name and check_of(name) is not None else ""
    return name if name in _NUMBERS.get(kind, ()) else ""


def unknown_formats(schema: dict[str, Any]) -> list[str]:
    """Return the formats that are ignored, in a schema and all below it."""
    found = [schema["format"]] if schema.get("format") and not known_format(schema) else []
    below = [schema.get("items"), schema.get("additionalProperties"), schema.get("not")]
    below += [member for name in ("allOf", "anyOf", "oneOf") for member in schema.get(name) or ()]
    below += (schema.get("properties") or {}).values()
    for inner in below:
        if isinstance(inner, dict):
            found += unknown_formats(inner)
    return found
