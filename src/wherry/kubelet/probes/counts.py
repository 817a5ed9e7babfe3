"""How often each probe was asked and what came of it: ``/metrics/probes``."""

from collections import Counter
from collections.abc import Iterator, Mapping

from wherry.api import meta
from wherry.util.metrics import COUNTER, HISTOGRAM, Family, Histogram, Sample

FAMILIES = {
    "prober_probe_duration_seconds": Family(HISTOGRAM, "Duration in seconds for a probe response."),
    "prober_probe_total": Family(COUNTER, "Number of probes of a container by type and result."),
}
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ProbeCounts:
    """Counts for as long as a pod is probed."""

    def __init__(self) -> None:
        self._totals: dict[str, Counter[tuple[tuple[str, str], ...]]] = {}
        self._seconds: dict[str, dict[tuple[tuple[str, str], ...], Histogram]] = {}

    def count(self, pod: meta.Object, container: str, kind: str, *, result: str, seconds: float) -> None:
        """Count one answer; `result` is ``successful``, ``failed`` or ``unknown``."""
        uid = meta.uid(pod)
        mark = {
            "container": container,
            "namespace": meta.namespace(pod),
            "pod": meta.name(pod),
            "probe_type": kind.capitalize(),
        }
        histograms = self._seconds.setdefault(uid, {})
        histograms.setdefault(_key(mark), Histogram(_BOUNDS)).observe(seconds)
        self._totals.setdefault(uid, Counter())[_key({**mark, "pod_uid": uid, "result": result})] += 1

    def forget(self, uid: str) -> None:
        """Drop a pod that is probed no more."""
        self._totals.pop(uid, None)
        self._seconds.pop(uid, None)

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted."""
        for totals in self._totals.values():
            for key, count in totals.items():
                yield Sample("prober_probe_total", dict(key), count)
        for histograms in self._seconds.values():
            for key, histogram in histograms.items():
                yield from histogram.samples("prober_probe_duration_seconds", dict(key))


def _key(mark: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(mark.items())
