"""The pods that wait: ready to try, backing off, or waiting for a change that may help them."""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.api.meta import Object
from wherry.scheduler.framework import Hint, Status
from wherry.scheduler.podinfo import PodInfo
from wherry.util import clock

log = logging.getLogger(__name__)

INITIAL_BACKOFF, MAXIMUM_BACKOFF = 1.0, 10.0
_LONGEST_WAIT = 300.0

Decider = Callable[[str], Mapping[str, Hint | None]]
"""Returns the hints of a plugin by its name."""

SortKey = Callable[[PodInfo, float], Any]
"""Returns what orders the pods that are ready, from the pod and the time since when it waits."""


@dataclass(slots=True, eq=False)
class QueuedPod:
    """A pod in the queue. `plugins` refused it last; an empty set with attempts means an error did."""

    info: PodInfo
    since: float
    attempts: int = 0
    plugins: set[str] = field(default_factory=set)
    gated: bool = False
    refused_at: float = 0.0


class SchedulingQueue:
    """Three places: `active`, back-off and unschedulable; `pop` waits for the next pod to try.

    A refused pod waits until a change that one of the refusing plugins has named may help it (its hints), or for five
    minutes. Then it backs off, by default 1 s doubling to 10 s since the refusal; but while nothing else is ready,
    those that back off are tried at once, unless an error put them there.
    """

    def __init__(
        self,
        pre_enqueue: Callable[[PodInfo], Status | None],
        hints_of: Decider,
        sort_key: SortKey,
        *,
        initial_backoff: float = INITIAL_BACKOFF,
        maximum_backoff: float = MAXIMUM_BACKOFF,
    ) -> None:
        self._initial_backoff, self._maximum_backoff = initial_backoff, maximum_backoff
        self._pre_enqueue = pre_enqueue
        self._hints_of = hints_of
        self._sort_key = sort_key
        self._pods: dict[str, QueuedPod] = {}
        self._active: list[tuple[Any, int, QueuedPod]] = []
        self._backoff: list[tuple[float, int, QueuedPod]] = []
        self._unschedulable: dict[str, QueuedPod] = {}
        self._in: dict[str, str] = {}
        self._sequence = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pods)

    def counts(self) -> dict[str, int]:
        """Return the numbers for ``scheduler_pending_pods`` by queue."""
        counts = {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 0}
        for key, place in self._in.items():
            counts["gated" if self._pods[key].gated else place] += 1
        return counts

    @property
    def is_idle(self) -> bool:
        """Whether no pod is ready to try."""
        return not self._active

    def refusals(self) -> Counter[tuple[str, str]]:
        """Return how many of the pods that wait each plugin refused, by plugin and profile."""
        return Counter(
            (plugin, queued.info.pod["spec"].get("schedulerName") or "default-scheduler")
            for queued in self._unschedulable.values()
            for plugin in sorted(queued.plugins)
        )

    def add(self, info: PodInfo) -> None:
        """Add a new pod."""
        queued = QueuedPod(info, clock.monotonic())
        self._pods[info.key] = queued
        self._admit(queued)

    def update(self, info: PodInfo, *, helps: Callable[[QueuedPod], bool]) -> None:
        """Take a new state of a pod; `helps` tells whether the change may make a refused pod schedulable."""
        queued = self._pods.get(info.key)
        if queued is None:
            self.add(info)
            return
        again = queued.info.priority != info.priority and self._in.get(info.key) == "active"
        queued.info = info
        if self._in.get(info.key) == "unschedulable" and (queued.gated or helps(queued)):
            self._leave_unschedulable(queued)
        elif again:
            self._put_active(queued)

    def delete(self, key: str) -> None:
        """Forget a pod."""
        self._pods.pop(key, None)
        self._in.pop(key, None)
        self._unschedulable.pop(key, None)

    def refused(self, queued: QueuedPod, plugins: Iterable[str]) -> None:
        """Put back a pod that could not be scheduled: by plugins, or (none) by an error, which only backs off."""
        if self._pods.get(queued.info.key) is not queued:
            return
        queued.plugins = set(plugins)
        queued.refused_at = clock.monotonic()
        if queued.plugins:
            self._unschedulable[queued.info.key] = queued
            self._in[queued.info.key] = "unschedulable"
        else:
            self._put_backoff(queued)

    def done(self, queued: QueuedPod) -> None:
        """Forget a pod that was bound, unless another of its name is there by now."""
        if self._pods.get(queued.info.key) is queued:
            self.delete(queued.info.key)

    def moved(self, kind: str, old: Object | None, new: Object | None) -> None:
        """Hear of a change in the cluster and move the pods that it may help."""
        for queued in list(self._unschedulable.values()):
            if self._may_help(queued, kind, old, new):
                self._leave_unschedulable(queued)

    def activate(self, key: str) -> None:
        """Try a pod that waits now, whatever refused it."""
        queued = self._pods.get(key)
        if queued is not None and self._in.get(key) == "unschedulable":
            self._unschedulable.pop(key, None)
            self._put_active(queued)

    async def pop(self) -> QueuedPod:
        """Wait for the next pod to try, and take it out."""
        while True:
            queued = self.pop_nowait()
            if queued is not None:
                return queued
            self._wake.clear()
            try:
                async with asyncio.timeout(self._next_wait()):
                    await self._wake.wait()
            except TimeoutError:
                self._flush_old()

    def pop_nowait(self) -> QueuedPod | None:
        """Return the next pod to try, None when there is none."""
        now = clock.monotonic()
        while self._backoff and (self._backoff[0][0] <= now or not self._is("backoff", self._backoff[0][2])):
            _, _, queued = heapq.heappop(self._backoff)
            if self._is("backoff", queued):
                self._put_active(queued)
        while self._active:
            queued = heapq.heappop(self._active)[2]
            if self._is("active", queued):
                return self._take(queued)
        early = [entry for entry in self._backoff if self._is("backoff", entry[2]) and entry[2].plugins]
        if not early:
            return None
        return self._take(min(early)[2])

    def _take(self, queued: QueuedPod) -> QueuedPod:
        del self._in[queued.info.key]
        queued.attempts += 1
        return queued

    def _is(self, place: str, queued: QueuedPod) -> bool:
        key = queued.info.key
        return self._pods.get(key) is queued and self._in.get(key) == place

    def _may_help(self, queued: QueuedPod, kind: str, old: Object | None, new: Object | None) -> bool:
        for plugin in queued.plugins:
            hints = self._hints_of(plugin)
            if kind in hints:
                hint = hints[kind]
                if hint is None or _says(hint, queued.info, old, new):
                    return True
        return False

    def _admit(self, queued: QueuedPod) -> None:
        status = self._pre_enqueue(queued.info)
        queued.gated = status is not None
        if status is not None:
            queued.plugins = {status.plugin}
            self._unschedulable[queued.info.key] = queued
            self._in[queued.info.key] = "unschedulable"
        else:
            self._put_active(queued)

    def _leave_unschedulable(self, queued: QueuedPod) -> None:
        self._unschedulable.pop(queued.info.key, None)
        if queued.gated:
            self._admit(queued)
        else:
            self._put_backoff(queued)

    def _put_active(self, queued: QueuedPod) -> None:
        self._sequence += 1
        heapq.heappush(self._active, (self._sort_key(queued.info, queued.since), self._sequence, queued))
        self._in[queued.info.key] = "active"
        self._wake.set()

    def _put_backoff(self, queued: QueuedPod) -> None:
        delay = 0.0
        if queued.attempts:
            delay = min(self._initial_backoff * 2 ** min(queued.attempts - 1, 60), self._maximum_backoff)
        until = queued.refused_at + delay
        if until <= clock.monotonic():
            self._put_active(queued)
            return
        self._sequence += 1
        heapq.heappush(self._backoff, (until, self._sequence, queued))
        self._in[queued.info.key] = "backoff"
        self._wake.set()

    def _next_wait(self) -> float | None:
        waits = [entry[0] for entry in self._backoff[:1]]
        waits += [queued.refused_at + _LONGEST_WAIT for queued in self._unschedulable.values() if not queued.gated]
        return max(min(waits) - clock.monotonic(), 0.0) if waits else None

    def _flush_old(self) -> None:
        now = clock.monotonic()
        for queued in list(self._unschedulable.values()):
            if not queued.gated and now - queued.refused_at >= _LONGEST_WAIT:
                self._leave_unschedulable(queued)


def _says(hint: Hint, info: PodInfo, old: Object | None, new: Object | None) -> bool:
    """Ask a hint; one that fails counts as a yes (kube-scheduler, scheduling queue: isPodWorthRequeuing)."""
    try:
        return hint(info, old, new)
    except Exception:
        log.exception("a hint for %s failed", info.key)
        return True
