"""The work queue of a controller: keys, each worked on by one worker at a time."""

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from wherry.util import clock
from wherry.util.backoff import KeyedBackoff

K = TypeVar("K", bound=Hashable)

BUCKETS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
"""Upper bounds in seconds of the histograms, as client-go has them."""


class ShutDown(Exception):
    """The queue is shut down and empty."""


@dataclass(slots=True)
class Histogram:
    """Counts of observations up to each bound of `BUCKETS`, and their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, value: float) -> None:
        """Count one duration in seconds."""
        self.total += value
        for at, bound in enumerate(BUCKETS):
            if value <= bound:
                self.counts[at] += 1
                return
        self.counts[-1] += 1


@dataclass(slots=True)
class WorkqueueMetrics:
    """What ``workqueue_*`` metrics show of one queue; `samples` yields them under Kubernetes' names."""

    name: str
    adds: int = 0
    retries: int = 0
    queue_duration: Histogram = field(default_factory=Histogram)
    work_duration: Histogram = field(default_factory=Histogram)


class Workqueue(Generic[K]):
    """A queue of keys that are to be reconciled.

    - A key that is added several times before it is worked on is worked on once.
    - A key is worked on by one worker at a time: one that is added meanwhile is queued again by ``done``.
    - ``add_rate_limited`` adds after a delay of the key's own, doubling from `initial_delay` up to
      `maximum_delay` seconds, until ``forget``.

    Loop: ``key = await queue.get()``, work, ``forget`` or ``add_rate_limited``, and always ``done``.
    """

    def __init__(self, name: str, *, initial_delay: float = 0.005, maximum_delay: float = 1000.0) -> None:
        self.metrics = WorkqueueMetrics(name)
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: dict[K, float] = {}
        self._added: dict[K, float] = {}
        self._backoff = KeyedBackoff(initial_delay, maximum_delay)
        self._failures: dict[K, int] = {}
        self._waiting: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._timer: asyncio.TimerHandle | None = None
        self._getters: deque[asyncio.Future[None]] = deque()
        self._shut_down = False

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Whether no key is queued or worked on (keys that wait for a delay do not count)."""
        return not self._ready and not self._processing

    def add(self, key: K) -> None:
        """Queue `key` unless it is queued; after shutdown nothing happens."""
        if self._shut_down or key in self._dirty:
            return
        self.metrics.adds += 1
        self._dirty.add(key)
        self._added[key] = clock.monotonic()
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, delay: float) -> None:
        """Queue `key` in `delay` seconds; of several waiting times for a key the earliest holds."""
        if self._shut_down:
            return
        if delay <= 0:
            self.add(key)
            return
        at = clock.monotonic() + delay
        if at >= self._waiting.get(key, float("inf")):
            return
        self._waiting[key] = at
        self._sequence += 1
        heapq.heappush(self._heap, (at, self._sequence, key))
        self._arm()

    def wait_of(self, key: K) -> float:
        """Return the seconds until `key` is queued, infinity where it waits for nothing."""
        return self._waiting.get(key, float("inf")) - clock.monotonic()

    def add_rate_limited(self, key: K) -> None:
        """Queue `key` after its back-off, which doubles with every call until `forget`."""
        self.metrics.retries += 1
        self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, self._backoff.next(key))

    def forget(self, key: K) -> None:
        """Start the back-off of `key` anew."""
        self._backoff.forget(key)
        self._failures.pop(key, None)

    def retries(self, key: K) -> int:
        """Return how often `key` was added rate limited since it was forgotten."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """Wait for a key and take it; the caller must call `done`. Raises ShutDown when there will be none."""
        while not self._ready:
            if self._shut_down:
                raise ShutDown
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake()
                elif getter in self._getters:
                    self._getters.remove(getter)
                raise
        key = self._ready.popleft()
        now = clock.monotonic()
        self.metrics.queue_duration.observe(now - self._added.pop(key, now))
        self._dirty.discard(key)
        self._processing[key] = now
        return key

    def done(self, key: K) -> None:
        """Say that the work on `key` has ended; it is queued again when it was added meanwhile."""
        started = self._processing.pop(key, None)
        if started is not None:
            self.metrics.work_duration.observe(clock.monotonic() - started)
        if key in self._dirty:
            self._push(key)

    def shut_down(self) -> None:
        """Take no more keys; `get` hands out what is queued and then raises ShutDown."""
        self._shut_down = True
        self._waiting.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._getters:
            self._wake()

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield (metric, labels, value) as Prometheus samples, histograms as ``_bucket``, ``_sum`` and ``_count``."""
        now, labels = clock.monotonic(), {"name": self.metrics.name}
        running = [now - started for started in self._processing.values()]
        yield "workqueue_adds_total", labels, self.metrics.adds
        yield "workqueue_depth", labels, len(self._ready)
        yield "workqueue_longest_running_processor_seconds", labels, max(running, default=0.0)
        yield "workqueue_retries_total", labels, self.metrics.retries
        yield "workqueue_unfinished_work_seconds", labels, sum(running)
        for name in ("queue_duration", "work_duration"):
            histogram: Histogram = getattr(self.metrics, name)
            metric, below = f"workqueue_{name}_seconds", 0
            for bound, count in zip((*BUCKETS, "+Inf"), histogram.counts, strict=True):
                below += count
                yield f"{metric}_bucket", {**labels, "le": str(bound)}, below
            yield f"{metric}_sum", labels, histogram.total
            yield f"{metric}_count", labels, below

    def _push(self, key: K) -> None:
        self._ready.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._release)

    def _release(self) -> None:
        self._timer = None
        # A timer may fire up to one clock tick early; what is due then is due now.
        now = clock.monotonic() + 1e-6
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._waiting.get(key) == at:
                del self._waiting[key]
                self.add(key)
        if self._heap:
            self._arm()
