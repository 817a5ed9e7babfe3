"""Timestamps and durations: reading, writing, their parts in a time zone."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from wherry.api.cel.functions import add
from wherry.api.cel.values import SECOND, Duration, EvalError, Timestamp

_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_PART = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def _not_convertible(kind: str) -> EvalError:
    return EvalError(f"type conversion error from 'string' to 'google.protobuf.{kind}'")


def parse_timestamp(text: str) -> Timestamp:
    """Return the moment of an RFC 3339 text. Raises EvalError."""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise _not_convertible("Timestamp")
    try:
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        zone = match[8]
        if zone not in "Zz":
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
            moment += -offset if zone[0] == "+" else offset
    except (ValueError, OverflowError):
        raise _not_convertible("Timestamp") from None
    return Timestamp.of(moment, int(((match[7] or "") + "000000000")[:9]))


def format_timestamp(value: Timestamp) -> str:
    """Return the RFC 3339 text of a moment, in UTC."""
    head = value.moment().strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = value.ns % SECOND
    return f"{head}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{head}Z"


def parse_duration(text: str) -> Duration:
    """Return the duration of Go's notation (``1h30m``). Raises EvalError."""
    negative, rest = text[:1] == "-", text.lstrip("+-") if text[:1] in "+-" else text
    if rest == "0":
        return Duration(0)
    total, at = 0, 0
    while at < len(rest):
        match = _PART.match(rest, at)
        if match is None or not (match[1] or match[2]):
            break
        unit = _UNITS[match[3]]
        total += int(match[1] or 0) * unit
        if match[2]:
            total += int(match[2]) * unit // 10 ** len(match[2])
        at = match.end()
    if not rest or at < len(rest):
        raise _not_convertible("Duration")
    return Duration(-total if negative else total)


def format_duration(value: Duration) -> str:
    """Return the seconds of a duration: ``5400s``."""
    whole, fraction = divmod(abs(value.ns), SECOND)
    sign = "-" if value.ns < 0 else ""
    return f"{sign}{whole}.{fraction:09d}".rstrip("0") + "s" if fraction else f"{sign}{whole}s"


def _zone(name: str) -> tzinfo:
    match = re.fullmatch(r"([+-]?)(\d\d):(\d\d)", name, re.ASCII)
    if match is not None:
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise EvalError(f"unknown time zone {name}") from None


def _part(name: str, read: Callable[[datetime], int]) -> None:
    add(f"timestamp:{name}() -> int", lambda value: read(value.moment()))
    add(f"timestamp:{name}(string) -> int", lambda value, zone: read(value.moment().astimezone(_zone(zone))))


_part("getFullYear", lambda moment: moment.year)
_part("getMonth", lambda moment: moment.month - 1)
_part("getDate", lambda moment: moment.day)
_part("getDayOfMonth", lambda moment: moment.day - 1)
_part("getDayOfWeek", lambda moment: moment.isoweekday() % 7)
_part("getDayOfYear", lambda moment: moment.timetuple().tm_yday - 1)
_part("getHours", lambda moment: moment.hour)
_part("getMinutes", lambda moment: moment.minute)
_part("getSeconds", lambda moment: moment.second)
_part("getMilliseconds", lambda moment: moment.microsecond // 1000)


def _toward_zero(ns: int, unit: int) -> int:
    return ns // unit if ns >= 0 else -(-ns // unit)


add("duration:getHours() -> int", lambda value: _toward_zero(value.ns, 3600 * SECOND))
add("duration:getMinutes() -> int", lambda value: _toward_zero(value.ns, 60 * SECOND))
add("duration:getSeconds() -> int", lambda value: _toward_zero(value.ns, SECOND))
add("duration:getMilliseconds() -> int", lambda value: _toward_zero(value.ns, 1_000_000))
