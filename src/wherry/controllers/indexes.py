"""Completion indexes of Indexed Jobs: intervals as text, ``1,3-5``, and the index of a pod."""

from collections.abc import Iterable

from wherry.api import meta
from wherry.api.meta import Object

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"


def parse(text: str, *, completions: int) -> set[int]:
    """Return the indexes below `completions` that ``1,3-5`` names; parts that are no interval are skipped."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), min(int(last or first), completions - 1) + 1))
    return found


def render(indexes: Iterable[int]) -> str:
    """Return indexes as intervals: ``1,3-5``; two neighbours are ``1,2``."""
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    texts = []
    for first, last in parts:
        if first == last:
            texts.append(str(first))
        else:
            texts.append(f"{first}{',' if last == first + 1 else '-'}{last}")
    return ",".join(texts)


def of_pod(pod: Object) -> int | None:
    """Return the pod's completion index, None when it has none."""
    text = meta.annotations(pod).get(COMPLETION_INDEX, "")
    return int(text) if text.isdigit() else None
