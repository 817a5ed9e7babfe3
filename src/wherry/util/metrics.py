"""Metrics in Prometheus' text form: histograms to observe, and samples written as families."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


class Sample(NamedTuple):
    """One line: a name (of a histogram with ``_bucket``, ``_sum`` or ``_count`` behind it), its labels, its value."""

    name: str
    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """What is said of a metric once: its type and its help."""

    kind: str
    help: str


class Histogram:
    """Counts of observations up to each of `bounds`, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def samples(self, name: str, labels: Mapping[str, str]) -> Iterator[Sample]:
        """Yield the lines of this histogram."""
        below = 0
        for bound, count in zip((*self.bounds, None), self.counts, strict=True):
            below += count
            yield Sample(f"{name}_bucket", {**labels, "le": "+Inf" if bound is None else f"{bound:g}"}, below)
        yield Sample(f"{name}_sum", labels, self.total)
        yield Sample(f"{name}_count", labels, below)


class Meter:
    """Counters, gauges and histograms by name and labels; `bounds` are those of the histograms by name."""

    def __init__(self, bounds: Mapping[str, Sequence[float]]) -> None:
        self._bounds = bounds
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._histograms: dict[tuple[str, tuple[tuple[str, str], ...]], Histogram] = {}

    def count(self, metric: str, /, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = metric, tuple(labels.items())
        self._values[key] = self._values.get(key, 0) + by

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._values[name, tuple(labels.items())] = value

    def observe(self, metric: str, value: float, /, **labels: str) -> None:
        """Count one observation in a histogram."""
        key = metric, tuple(labels.items())
        if key not in self._histograms:
            self._histograms[key] = Histogram(self._bounds[metric])
        self._histograms[key].observe(value)

    def samples(self) -> Iterator[Sample]:
        """Yield all lines."""
        for (name, labels), value in self._values.items():
            yield Sample(name, dict(labels), value)
        for (name, labels), histogram in self._histograms.items():
            yield from histogram.samples(name, dict(labels))


def text(samples: Iterable[tuple[str, Mapping[str, str], float]], families: Mapping[str, Family]) -> str:
    """Return samples in the text form, by family; those of no family in `families` are left out."""
    lines: dict[str, list[str]] = {name: [] for name in sorted(families)}
    for name, labels, value in samples:
        found = lines.get(name)
        if found is None:
            found = lines.get(name.rpartition("_")[0])
        if found is not None:
            found.append(_line(name, labels, value))
    out: list[str] = []
    for name, found in lines.items():
        if found:
            family = families[name]
            out += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}", *found]
    return "\n".join(out) + "\n"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    shown = ",".join(f'{key}="{_escaped(labels[key])}"' for key in sorted(labels))
    number = f"{value:.10g}" if value != int(value) else str(int(value))
    return f"{name}{{{shown}}} {number}" if shown else f"{name} {number}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
