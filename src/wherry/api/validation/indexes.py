"""Lists of the indexes of a Job's pods, as in ``1,3-5,7``."""

import json
import re

_NUMBER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)


class _WrongError(ValueError):
    pass


def _interval(text: str, completions: int) -> tuple[int, int]:
    limits = text.split("-")
    if len(limits) > 2:
        detail = "violates the requirement that an index interval can have at most two parts separated by '-'"
        raise _WrongError(f"the fragment {json.dumps(text)} {detail}")
    bounds: list[int] = []
    for limit in limits:
        if not _NUMBER.match(limit):
            raise _WrongError(f"cannot convert string to integer for index: {json.dumps(limit)}")
        if int(limit) >= completions:
            raise _WrongError(f"too large index: {json.dumps(limit)}")
        bounds.append(int(limit))
    if len(bounds) == 2 and bounds[0] >= bounds[1]:
        raise _WrongError(f"non-increasing order, previous: {bounds[0]}, current: {bounds[1]}")
    return bounds[0], bounds[-1]


def count_indexes(text: str, completions: int) -> tuple[int, str]:
    """Count the indexes of ``1,3-5``; the second value says what is wrong with the text."""
    total, last = 0, None
    for part in text.split(",") if text else ():
        try:
            first, end = _interval(part, completions)
        except _WrongError as wrong:
            return 0, str(wrong)
        if last is not None and first <= last:
            return 0, f"non-increasing order, previous: {last}, current: {first}"
        total += end - first + 1
        last = end
    return total, ""


def overlap(one: str, other: str, completions: int) -> int | None:
    """Return the first index that both lists have, not looking at what is wrong in them."""
    found: list[list[tuple[int, int]]] = []
    for text in (one, other):
        right: list[tuple[int, int]] = []
        for part in text.split(",") if text else ():
            try:
                right.append(_interval(part, completions))
            except _WrongError:
                continue
        found.append(right)
    shared = [max(a, x) for a, b in found[0] for x, y in found[1] if a <= y and x <= b]
    return min(shared, default=None)
