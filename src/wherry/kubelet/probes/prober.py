"""The probes of one pod: a task for each probe of each running container, and their verdicts."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.api import meta
from wherry.kubelet.events import PodEvents
from wherry.kubelet.podspec import Container
from wherry.kubelet.probes.check import Checker
from wherry.kubelet.probes.counts import ProbeCounts
from wherry.runtime.protocol import ContainerStatus
from wherry.util import clock
from wherry.util.tasks import Scope, cancel

log = logging.getLogger(__name__)

LIVENESS, READINESS, STARTUP = "liveness", "readiness", "startup"
_FIELDS = {LIVENESS: "livenessProbe", READINESS: "readinessProbe", STARTUP: "startupProbe"}


@dataclass(slots=True)
class _Attempt:
    """The verdicts on one attempt; None: not yet known."""

    ready: bool
    startup_passed: asyncio.Event
    failed: str = ""
    grace: float | None = None
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class PodProbes:
    """Runs the probes of one pod's containers in `scope`; `on_change` is called when a verdict changes."""

    def __init__(
        self,
        checker: Checker,
        events: PodEvents,
        scope: Scope,
        on_change: Callable[[], None],
        *,
        counts: ProbeCounts,
    ) -> None:
        self._checker = checker
        self._events = events
        self._counts = counts
        self._scope = scope
        self._on_change = on_change
        self._attempts: dict[str, _Attempt] = {}
        self._pod: meta.Object = {}
        self.address = ""

    def watch(
        self, pod: meta.Object, container: Container, status: ContainerStatus, *, was_ready: bool, was_started: bool
    ) -> None:
        """Probe a running attempt from now on; the same attempt again changes nothing.

        `was_ready` and `was_started` are what an earlier process reported of this attempt.
        """
        self._pod = pod
        if status.id in self._attempts:
            return
        probes = {kind: container[name] for kind, name in _FIELDS.items() if container.get(name)}
        passed = asyncio.Event()
        if STARTUP not in probes or was_started:
            passed.set()
            probes.pop(STARTUP, None)
        attempt = _Attempt(ready=READINESS not in probes or was_ready, startup_passed=passed)
        self._attempts[status.id] = attempt
        for kind, probe in probes.items():
            attempt.tasks[kind] = self._scope.spawn(
                self._run(kind, probe, container, status, attempt),
                name=f"{kind} {meta.name(pod)}/{container['name']}",
                guard=True,
            )

    def update(self, pod: meta.Object) -> None:
        """Take a newer state of the pod, for events."""
        self._pod = pod

    async def forget(self, container_id: str) -> None:
        """Stop probing an attempt."""
        attempt = self._attempts.pop(container_id, None)
        if attempt:
            await cancel(*attempt.tasks.values())

    async def stop_restarts(self) -> None:
        """Stop the liveness and startup probes: the pod ends, nothing is to be restarted."""
        tasks = [a.tasks.pop(kind) for a in self._attempts.values() for kind in (LIVENESS, STARTUP) if kind in a.tasks]
        await cancel(*tasks)

    async def close(self) -> None:
        """Stop all probes."""
        await cancel(*(task for a in self._attempts.values() for task in a.tasks.values()))
        self._attempts.clear()
        if self._pod:
            self._counts.forget(meta.uid(self._pod))

    def known(self) -> set[str]:
        """Return the ids of the attempts that are probed."""
        return set(self._attempts)

    def failed(self, container_id: str) -> str:
        """Return the kind of probe for which an attempt must be restarted, empty when it need not."""
        attempt = self._attempts.get(container_id)
        return attempt.failed if attempt else ""

    def grace(self, container_id: str) -> float | None:
        """Return the grace period that the failed probe sets, None when it sets none."""
        attempt = self._attempts.get(container_id)
        return attempt.grace if attempt else None

    def started(self, container_id: str) -> bool:
        """Tell whether an attempt's startup probe has passed (or there is none)."""
        attempt = self._attempts.get(container_id)
        return attempt is not None and attempt.startup_passed.is_set()

    def ready(self, container_id: str) -> bool:
        """Tell whether an attempt is ready."""
        attempt = self._attempts.get(container_id)
        return attempt is not None and attempt.ready and attempt.startup_passed.is_set()

    async def _run(
        self, kind: str, probe: Mapping[str, Any], container: Container, status: ContainerStatus, attempt: _Attempt
    ) -> None:
        if kind != STARTUP:
            await attempt.startup_passed.wait()
        elapsed = max(0.0, clock.seconds() - status.started_at)  # the clock may have been set back since
        await clock.sleep(max(0.0, float(probe.get("initialDelaySeconds") or 0) - elapsed))
        period = float(probe.get("periodSeconds") or 10)
        judge = _Judge(probe)
        due = clock.monotonic()
        while True:
            if (verdict := await self._ask(kind, probe, container, status, judge)) is not None:
                self._apply(kind, verdict, attempt, probe.get("terminationGracePeriodSeconds"))
                if kind == STARTUP or (kind == LIVENESS and not verdict):
                    return
            due = max(due + period, clock.monotonic())
            await clock.sleep(due - clock.monotonic())

    async def _ask(
        self, kind: str, probe: Mapping[str, Any], container: Container, status: ContainerStatus, judge: "_Judge"
    ) -> bool | None:
        """Ask once and return the verdict where the thresholds lead to one."""
        title, name, begun = kind.capitalize(), container["name"], clock.monotonic()
        outcome = await self._checker.check(probe, container, container_id=status.id, address=self.address)
        result = "unknown" if outcome.error else "successful" if outcome.success else "failed"
        self._counts.count(self._pod, name, kind, result=result, seconds=clock.monotonic() - begun)
        if outcome.error:
            text = f"{title} probe errored and resulted in unknown state: {outcome.error}"
            self._events.warning(self._pod, "Unhealthy", text, container=name)
            return None
        if not outcome.success:
            self._events.warning(self._pod, "Unhealthy", f"{title} probe failed: {outcome.output}", container=name)
        if outcome.warning:
            self._events.warning(self._pod, "ProbeWarning", f"{title} probe warning: {outcome.warning}", container=name)
        return judge.verdict(outcome.success)

    def _apply(self, kind: str, verdict: bool, attempt: _Attempt, grace: float | None) -> None:
        before = (attempt.ready, attempt.startup_passed.is_set(), attempt.failed)
        if kind == READINESS:
            attempt.ready = verdict
        elif not verdict:
            attempt.failed, attempt.grace = kind, None if grace is None else float(grace)
        elif kind == STARTUP:
            attempt.startup_passed.set()
        if before != (attempt.ready, attempt.startup_passed.is_set(), attempt.failed):
            self._on_change()


class _Judge:
    """Counts equal answers against the thresholds."""

    def __init__(self, probe: Mapping[str, Any]) -> None:
        self._thresholds = {
            True: int(probe.get("successThreshold") or 1),
            False: int(probe.get("failureThreshold") or 3),
        }
        self._last: bool | None = None
        self._count = 0

    def verdict(self, success: bool) -> bool | None:
        """Return the answer once it came as often in a row as its threshold says, None before."""
        self._count = self._count + 1 if success == self._last else 1
        self._last = success
        return success if self._count >= self._thresholds[success] else None
