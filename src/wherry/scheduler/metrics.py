"""The scheduler's metrics of its attempts."""

from collections import Counter
from collections.abc import Callable, Iterator

from wherry.util import clock
from wherry.util.metrics import COUNTER, GAUGE, HISTOGRAM, Family, Histogram, Meter, Sample

_MANY = 15
FAMILIES = {
    "scheduler_cache_size": Family(GAUGE, "Nodes, pods and assumed pods in the scheduler's cache."),
    "scheduler_pod_scheduling_attempts": Family(HISTOGRAM, "Attempts that it took to schedule a pod."),
    "scheduler_pod_scheduling_sli_duration_seconds": Family(
        HISTOGRAM, "Seconds from a pod's coming to the queue until it was scheduled, by the number of attempts."
    ),
    "scheduler_preemption_attempts_total": Family(COUNTER, "Attempts to make room for pods."),
    "scheduler_preemption_victims": Family(HISTOGRAM, "Pods that had to leave for another."),
    "scheduler_unschedulable_pods": Family(GAUGE, "Pods that a plugin refused, by plugin and profile."),
}
_BOUNDS = {
    "scheduler_pod_scheduling_attempts": (1.0, 2.0, 4.0, 8.0, 16.0),
    "scheduler_pod_scheduling_sli_duration_seconds": tuple(0.01 * 2**power for power in range(20)),
    "scheduler_preemption_victims": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0),
}
_SECONDS = tuple(0.001 * 2**power for power in range(15))


class Attempts:
    """Counts the attempts to choose a node for a pod, by result and profile, and the seconds that each took."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self.meter = Meter(_BOUNDS)

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

    def scheduled(self, attempts: int, seconds: float) -> None:
        """Count a pod that was bound, after so many attempts and seconds in the queue."""
        self.meter.observe("scheduler_pod_scheduling_attempts", attempts)
        shown = str(attempts) if attempts < _MANY else f"{_MANY}+"
        self.meter.observe("scheduler_pod_scheduling_sli_duration_seconds", seconds, attempts=shown)

    def preempted(self, victims: int) -> None:
        """Count an attempt to make room; `victims` 0: in vain."""
        self.meter.count("scheduler_preemption_attempts_total")
        if victims:
            self.meter.observe("scheduler_preemption_victims", victims)

    def samples(self) -> Iterator[Sample]:
        """Yield the counters and histograms."""
        for (result, profile), number in self._counts.items():
            labels = {"result": result, "profile": profile}
            yield Sample("scheduler_schedule_attempts_total", labels, number)
            yield from self._seconds[result, profile].samples("scheduler_scheduling_attempt_duration_seconds", labels)
        yield from self.meter.samples()
