"""How long admission takes, under upstream's names (apiserver ``admission/metrics``): each plugin, and each step."""

from collections.abc import Iterator

from wherry.util.metrics import HISTOGRAM, Family, Histogram, Sample

_PREFIX = "apiserver_admission_"
_PLUGIN, _STEP = f"{_PREFIX}controller_admission_duration_seconds", f"{_PREFIX}step_admission_duration_seconds"
_SUMMARY = f"{_STEP}_summary"
_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
_QUICK = _SECONDS[0]
"""Seconds of the first bucket."""

FAMILIES = {
    _PLUGIN: Family(HISTOGRAM, "Seconds that admission plugins took, by name and operation."),
    _STEP: Family(HISTOGRAM, "Seconds that the steps of admission took, by operation."),
    _SUMMARY: Family("summary", "Seconds that the steps of admission took together, by operation."),
}

ADMIT, VALIDATE = "admit", "validate"
"""The steps, as metrics and the methods of plugins call them."""


class Timer:
    """The times of one plugin, or of a step, for one operation: what was admitted and what was refused."""

    __slots__ = ("_quick", "_quick_seconds", "_slow", "rejected")

    def __init__(self) -> None:
        # Almost all are quick, and every plugin of every write is counted: these are added up without a search.
        self._quick = 0
        self._quick_seconds = 0.0
        self._slow = Histogram(_SECONDS)
        self.rejected = Histogram(_SECONDS)

    def passed(self, seconds: float) -> None:
        """Count what was let through."""
        if seconds <= _QUICK:
            self._quick += 1
            self._quick_seconds += seconds
        else:
            self._slow.observe(seconds)

    def admitted(self) -> Histogram:
        """Return what was let through."""
        made = Histogram(_SECONDS)
        made.counts = [self._slow.counts[0] + self._quick, *self._slow.counts[1:]]
        made.total = self._slow.total + self._quick_seconds
        return made


class Timers:
    """The times by plugin (empty for a whole step), step and operation."""

    def __init__(self) -> None:
        self._timers: dict[tuple[str, str, str], Timer] = {}

    def of(self, name: str, step: str, operation: str) -> Timer:
        """Return the timer of a plugin or, without a name, of a step."""
        return self._timers.setdefault((name, step, operation), Timer())

    def samples(self) -> Iterator[Sample]:
        """Yield all lines."""
        for (name, step, operation), timer in self._timers.items():
            labels = {"type": step, "operation": operation} | ({"name": name} if name else {})
            for rejected, seconds in (("false", timer.admitted()), ("true", timer.rejected)):
                count = sum(seconds.counts)
                if not count:
                    continue
                shown = {**labels, "rejected": rejected}
                yield from seconds.samples(_PLUGIN if name else _STEP, shown)
                if not name:
                    yield Sample(f"{_SUMMARY}_sum", shown, seconds.total)
                    yield Sample(f"{_SUMMARY}_count", shown, count)
