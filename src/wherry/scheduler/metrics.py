"""The scheduler's metrics of its attempts."""

from collections import Counter
from collections.abc import Callable, Iterator

from wherry.util import clock
from wherry.util.metrics import Histogram, Sample

_SECONDS = tuple(0.001 * 2**power for power in range(15))


class Attempts:
    """Counts the attempts to choose a node for a pod, by result and profile, and the seconds that each took."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def begin(self, profile: str) -> Callable[[str], None]:
        """Begin an attempt; call what this returns with ``scheduled``, ``unschedulable`` or ``error`` at its end."""
        began = clock.monotonic()

        def end(result: str) -> None:
            key = (result, profile)
            self._counts[key] += 1
            seconds = self._seconds.get(key)
            if seconds is None:
                seconds = self._seconds[key] = Histogram(_SECONDS)
            seconds.observe(clock.monotonic() - began)

        return end

    def samples(self) -> Iterator[Sample]:
        """Yield the counters and histograms."""
        for (result, profile), number in self._counts.items():
            labels = {"result": result, "profile": profile}
            yield Sample("scheduler_schedule_attempts_total", labels, number)
            yield from self._seconds[result, profile].samples("scheduler_scheduling_attempt_duration_seconds", labels)
