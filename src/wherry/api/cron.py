"""Cron schedules as CronJobs have them: five fields or a descriptor, in a time zone.

The language and the error messages are those of the parser that Kubernetes uses (robfig/cron, ``ParseStandard``).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_YEARS = 5


@dataclass(frozen=True, slots=True)
class _Bounds:
    minimum: int
    maximum: int
    names: dict[str, int]


_FIELDS = (
    _Bounds(0, 59, {}),
    _Bounds(0, 23, {}),
    _Bounds(1, 31, {}),
    _Bounds(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Bounds(0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Minutes at which something is due, or (`every`) a constant delay in seconds."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    either_day: bool = False
    every: float = 0.0

    def next(self, after: datetime, zone: tzinfo = UTC) -> datetime | None:
        """Return the first time later than `after` (aware), None when there is none within five years.

        The fields are those of the wall clock in `zone`; hours that it skips have no minutes, hours that it repeats
        have theirs twice.
        """
        if self.every:
            return (after + timedelta(seconds=self.every)).replace(microsecond=0)
        at = (after.astimezone(UTC) + timedelta(minutes=1)).replace(second=0, microsecond=0)
        limit = at.year + _YEARS
        while at.year <= limit:
            local = at.astimezone(zone)
            if local.month not in self.months:
                first = local.replace(day=1, hour=0, minute=0) + timedelta(days=32)
                at = _midnight(first.replace(day=1), zone)
            elif not self._is_day(local):
                at = _midnight(local.replace(hour=0, minute=0) + timedelta(days=1), zone)
            elif local.hour not in self.hours:
                at += timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minutes:
                at += timedelta(minutes=1)
            else:
                return at
        return None

    def _is_day(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return day or weekday if self.either_day else day and weekday


def _midnight(local: datetime, zone: tzinfo) -> datetime:
    return datetime(local.year, local.month, local.day, tzinfo=zone).astimezone(UTC)


def parse(text: str) -> Schedule:
    """Parse a schedule. Raises ValueError with the parser's message."""
    if not text:
        raise ValueError("empty spec string")
    if text.startswith("@"):
        if text.startswith("@every "):
            return Schedule(every=_duration(text.removeprefix("@every "), text))
        if text not in _DESCRIPTORS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _DESCRIPTORS[text]
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    found = [_field(field, bounds) for field, bounds in zip(fields, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = (values for values, _ in found)
    either_day = not found[2][1] and not found[4][1]
    return Schedule(minutes, hours, days, months, weekdays, either_day)


def _duration(text: str, spec: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'failed to parse duration {spec}: time: invalid duration "{text}"')
    return max(1.0, float(int(sum(float(number) * _UNITS[unit] for number, unit in parts))))


def _field(text: str, bounds: _Bounds) -> tuple[frozenset[int], bool]:
    """Return the values of a field and whether it is a star."""
    values: set[int] = set()
    star = False
    for part in dict.fromkeys(text.split(",")):
        found, is_star = _range(part, bounds)
        values |= found
        star |= is_star
    return frozenset(values), star


def _range(text: str, bounds: _Bounds) -> tuple[set[int], bool]:
    span, *steps = text.split("/")
    low_text, *rest = span.split("-")
    star = low_text in ("*", "?")
    if star:
        first, last = bounds.minimum, bounds.maximum
    else:
        first = _number(low_text, bounds)
        if len(rest) > 1:
            raise ValueError(f"too many hyphens: {text}")
        last = _number(rest[0], bounds) if rest else first
    step = 1
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    if steps:
        step = _integer(steps[0])
        if not rest and not star:
            last = bounds.maximum
        star = star and step <= 1
    if first < bounds.minimum:
        raise ValueError(f"beginning of range ({first}) below minimum ({bounds.minimum}): {text}")
    if last > bounds.maximum:
        raise ValueError(f"end of range ({last}) above maximum ({bounds.maximum}): {text}")
    if first > last:
        raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return set(range(first, last + 1, step)), star


def _number(text: str, bounds: _Bounds) -> int:
    named = bounds.names.get(text.lower())
    return named if named is not None else _integer(text)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if number < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
