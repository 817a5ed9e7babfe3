"""Times of the wire: RFC 3339 in seconds (``Time``) and microseconds (``MicroTime``), as Go reads and writes them."""

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
# What a layout consists of, in order: the text that stands for a part in Go's layouts, and what it reads.
_PARTS = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d(?:[.,]\d+)?"),
    ("Z07:00", r"Z|[+-]\d\d:\d\d"),
)
_RANGES = {"01": (1, 12, "month"), "15": (0, 23, "hour"), "04": (0, 59, "minute"), "05": (0, 59, "second")}


def normal_time(text: str) -> str | None:
    """Return `text` in UTC and whole seconds, None for the zero time. Raises ValueError with Go's message."""
    if text.endswith("Z") and len(text) == 20 and _CANONICAL.fullmatch(text) and _valid(text):
        return None if text == "0001-01-01T00:00:00Z" else text
    moment, _ = _parse(text, _LAYOUT)
    rendered = moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    return None if rendered == "0001-01-01T00:00:00Z" else rendered


def normal_micro_time(text: str) -> str | None:
    """Return `text` in UTC with six digits, None for the zero time. Raises ValueError with Go's message."""
    moment, fraction = _parse(text, _MICRO_LAYOUT)
    rendered = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + "." + (fraction + "000000")[:6] + "Z"
    return None if rendered == "0001-01-01T00:00:00.000000Z" else rendered


def _valid(text: str) -> bool:
    try:
        datetime(
            int(text[:4]),
            int(text[5:7]),
            int(text[8:10]),
            int(text[11:13]),
            int(text[14:16]),
            int(text[17:19]),
            tzinfo=UTC,
        )
    except ValueError:
        return False
    return True


def _parse(text: str, layout: str) -> tuple[datetime, str]:
    match = _TIME.fullmatch(text)
    if match is None or (layout is _MICRO_LAYOUT and (match[7] is None or len(match[7]) < 6)):
        raise ValueError(_explain(text, layout))
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if match[8] != "Z":
            offset = timedelta(hours=int(match[8][1:3]), minutes=int(match[8][4:6]))
            moment += -offset if match[8][0] == "+" else offset
    except (ValueError, OverflowError):
        raise ValueError(_explain(text, layout)) from None
    return moment, match[7] or ""


def _explain(text: str, layout: str) -> str:
    """Say where Go's parser stops: it compares part by part and names the rest of the text and the part."""
    head = f'parsing time "{text}"'
    rest = text
    parts = list(_PARTS)
    if layout is _MICRO_LAYOUT:
        parts[10:11] = [("05", r"\d\d"), (".000000", r"\.\d{6,}")]
    for part, pattern in parts:
        match = re.match(pattern, rest, re.ASCII)
        if match is None:
            return f'{head} as "{layout}": cannot parse "{rest}" as "{part}"'
        if part in _RANGES:
            low, high, name = _RANGES[part]
            if not low <= int(match[0][:2]) <= high:
                return f"{head}: {name} out of range"
        rest = rest[match.end() :]
    if rest:
        return f'{head}: extra text: "{rest}"'
    return f"{head}: day out of range"
