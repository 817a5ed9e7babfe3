"""What is wrong with a schedule, in the words of the cron library that Kubernetes parses it with (robfig/cron v3)."""

import re

_DURATION = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|µs|ms|s|m|h))+")
_MONTHS = {
    m: i + 1 for i, m in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
}
_DAYS = {d: i for i, d in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, _MONTHS), (0, 6, _DAYS),
)  # fmt: skip
_DESCRIPTORS = frozenset(("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"))


class _Wrong(Exception):
    pass


def schedule_error(schedule: str) -> str:
    """Return what is wrong with a schedule; empty when nothing is."""
    if schedule.startswith("@"):
        if schedule in _DESCRIPTORS:
            return ""
        if schedule.startswith("@every "):
            period = schedule.removeprefix("@every ")
            wrong = f'failed to parse duration {schedule}: time: invalid duration "{period}"'
            return "" if _DURATION.fullmatch(period) else wrong
        return f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    try:
        for text, (low, high, names) in zip(fields, _FIELDS, strict=True):
            for part in text.split(","):
                if part:
                    _range(part, low, high, names)
    except _Wrong as wrong:
        return str(wrong)
    return ""


def _range(part: str, low: int, high: int, names: dict[str, int]) -> None:
    span, *steps = part.split("/")
    ends = span.split("-")
    if ends[0] in ("*", "?"):
        start, end = low, high
    else:
        start = end = _number(ends[0], names)
        if len(ends) == 2:
            end = _number(ends[1], names)
        elif len(ends) > 2:
            raise _Wrong(f"too many hyphens: {part}")
    if len(steps) > 1:
        raise _Wrong(f"too many slashes: {part}")
    step = _number(steps[0], {}) if steps else 1
    if steps and len(ends) == 1:
        end = high
    if start < low:
        raise _Wrong(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise _Wrong(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise _Wrong(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise _Wrong(f"step of range should be a positive number: {part}")


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise _Wrong(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if text.startswith("-"):
        raise _Wrong(f"negative number ({text}) not allowed: {text}")
    return int(text)
