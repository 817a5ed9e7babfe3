"""The scheduler: takes pods from the queue, chooses, binds, and says so when it cannot."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import PODS
from wherry.client.client import STRATEGIC_PATCH, Client
from wherry.client.events import NORMAL, WARNING, EventRecorder
from wherry.client.informer import InformerFactory
from wherry.scheduler.cache import Cache
from wherry.scheduler.cycle import Choice, Chooser, Unschedulable
from wherry.scheduler.extender import NAME as EXTENDER
from wherry.scheduler.extender import ExtenderError, Extenders
from wherry.scheduler.framework import Code, Hint, Nomination, Remedy, Status
from wherry.scheduler.metrics import Attempts
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.preemption import best
from wherry.scheduler.profile import Profile, SchedulerConfig, make_profile
from wherry.scheduler.queue import QueuedPod, SchedulingQueue
from wherry.scheduler.sources import KINDS, Sources
from wherry.util import clock
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_BINDING_AT_ONCE = 256
_EVERY_CHANGE: Mapping[str, Hint | None] = dict.fromkeys(KINDS)
_TURN = 0.005


class Scheduler:
    """Schedules the pods whose ``spec.schedulerName`` is one of its profiles.

    Choosing is synchronous, one pod at a time, over a cache that counts a chosen pod at once; binding runs beside it.
    """

    def __init__(
        self,
        client: Client,
        factory: InformerFactory,
        recorder: EventRecorder,
        *,
        config: SchedulerConfig | None = None,
    ) -> None:
        config = config or SchedulerConfig()
        self._client = client
        self._recorder = recorder
        self.cache = Cache()
        made = [make_profile(profile, self.cache, client=client, factory=factory) for profile in config.profiles]
        self._choosers = {profile.name: Chooser(profile, self.cache) for profile in made}
        # There is one queue, so all profiles must sort alike: the first decides, as Kubernetes demands.
        (sorter,) = made[0].at("sort_key")
        self.queue = SchedulingQueue(
            self._pre_enqueue,
            self._hints_of,
            sorter.sort_key,
            initial_backoff=config.initial_backoff,
            maximum_backoff=config.maximum_backoff,
        )
        self._extenders = Extenders(config.extenders)
        self._sources = Sources(factory, self.cache, self.queue, self._choosers.keys())
        self._binding = asyncio.Semaphore(_BINDING_AT_ONCE)
        self._under_way = 0
        self._reports: dict[str, asyncio.Task[None]] = {}
        self._preempting: set[str] = set()
        self._attempts = Attempts()

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """Yield the scheduler's metrics as (name, labels, value)."""
        for queue, number in self.queue.counts().items():
            yield "scheduler_pending_pods", {"queue": queue}, number
        for kind, number in self.cache.sizes().items():
            yield "scheduler_cache_size", {"type": kind}, number
        for (plugin, profile), number in self.queue.refusals().items():
            yield "scheduler_unschedulable_pods", {"plugin": plugin, "profile": profile}, number
        yield from self._attempts.samples()

    def is_quiet(self) -> bool:
        """Tell whether no pod is being scheduled or bound."""
        return not self._under_way and self.queue.is_idle

    async def run(self) -> None:
        """Schedule until cancelled."""
        await self._sources.wait_synced()
        try:
            async with Scope() as scope:
                await self._run(scope)
        finally:
            await self._extenders.close()

    async def _run(self, scope: Scope) -> None:
        turn = clock.monotonic()
        while True:
            queued = await self.queue.pop()
            await self._binding.acquire()
            if not await self._try(queued, scope):
                self._binding.release()
            # The loop belongs to the API server too.
            if clock.monotonic() - turn > _TURN:
                await asyncio.sleep(0)
                turn = clock.monotonic()

    async def _try(self, queued: QueuedPod, scope: Scope) -> bool:
        """Do `_schedule`; where a plugin fails the pod backs off, and the others go on."""
        try:
            return await self._schedule(queued, scope)
        except ExtenderError as error:
            self._failed(queued, "SchedulerError", str(error), scope)
            return False
        except Exception as error:
            log.exception("scheduling %s failed", queued.info.key)
            self.cache.forget(queued.info)
            self._failed(queued, "SchedulerError", str(error), scope)
            return False

    async def _schedule(self, queued: QueuedPod, scope: Scope) -> bool:
        """Choose a node for one pod and start its binding; False when there is nothing to bind."""
        info = queued.info
        if info.deleting or self.cache.is_assumed(info.key):
            return False
        chooser = self._choosers[info.pod["spec"].get("schedulerName") or "default-scheduler"]
        attempt = self._attempts.begin(chooser.profile.name)
        try:
            if self._extenders.concern(info):
                choice = await chooser.choose_asking(info, self._extenders)
                if choice.node_name not in self.cache.nodes:
                    raise ExtenderError(f'node "{choice.node_name}" went while extenders were asked')
            else:
                choice = chooser.choose(info)
        except Unschedulable as refusal:
            attempt("unschedulable")
            await self._refused(queued, refusal, chooser, scope)
            return False
        except Exception:
            attempt("error")
            raise
        self.cache.assume(info, choice.node_name)
        for point in ("reserve", "permit"):
            for plugin in chooser.profile.at(point):
                status = getattr(plugin, point)(choice.state, info, choice.node_name)
                if status is not None:
                    attempt("unschedulable")
                    self._unreserve(chooser.profile, choice, info)
                    self._failed(queued, "Unschedulable", status.message, scope, plugins=(plugin.name,))
                    return False
        attempt("scheduled")
        self._under_way += 1
        scope.spawn(self._bind(queued, chooser.profile, choice, scope), guard=True)
        return True

    async def _bind(self, queued: QueuedPod, profile: Profile, choice: Choice, scope: Scope) -> None:
        info, name = queued.info, choice.node_name
        try:
            if (report := self._reports.get(info.key)) is not None:
                await asyncio.wait([report])  # it must not come after the binding and deny it
            if (status := await self._bind_by_plugins(profile, choice, info)) is not None:
                self._unreserve(profile, choice, info)
                self._failed(queued, "SchedulerError", status.message, scope)
                return
        except Exception as error:
            if not isinstance(error, errors.StatusError | OSError | TimeoutError):
                log.exception("binding %s failed", info.key)
            self._unreserve(profile, choice, info)
            if not isinstance(error, errors.NotFound):
                self._failed(queued, "SchedulerError", f"binding rejected: {error}", scope)
            return
        finally:
            self._under_way -= 1
            self._binding.release()
        self.cache.nominate(info, "")
        self.queue.done(queued)
        self._attempts.scheduled(queued.attempts, clock.monotonic() - queued.since)
        for plugin in profile.at("post_bind"):
            plugin.post_bind(choice.state, info, name)
        message = f"Successfully assigned {info.key} to {name}"
        self._recorder.event(_typed(info.pod), NORMAL, "Scheduled", message, action="Binding")

    async def _bind_by_plugins(self, profile: Profile, choice: Choice, info: PodInfo) -> Status | None:
        for plugin in profile.at("pre_bind"):
            status = await plugin.pre_bind(choice.state, info, choice.node_name)
            if status is not None:
                return status
        if await self._extenders.bind(info, choice.node_name):
            return None
        for plugin in profile.at("bind"):
            status = await plugin.bind(choice.state, info, choice.node_name)
            if status is not None:
                return status
        return None

    def _unreserve(self, profile: Profile, choice: Choice, info: PodInfo) -> None:
        for plugin in reversed(profile.at("unreserve")):
            plugin.unreserve(choice.state, info, choice.node_name)
        self.cache.forget(info)

    async def _refused(self, queued: QueuedPod, refusal: Unschedulable, chooser: Chooser, scope: Scope) -> None:
        info, diagnosis = queued.info, refusal.diagnosis
        nominated: str | None = None
        helps = diagnosis.statuses and info.key not in self._preempting
        for plugin in chooser.profile.at("post_filter") if helps else ():
            result = plugin.post_filter(refusal.state, info, diagnosis.statuses, chooser)
            if isinstance(result, Nomination) and result.candidates:
                result = await self._narrowed(result, info)
            if result is not None and result.message:
                diagnosis.post_filter = ", ".join(filter(None, (diagnosis.post_filter, result.message)))
            if isinstance(result, Remedy):
                scope.spawn(result.work(), guard=True)
            if isinstance(result, Nomination):
                nominated = result.node_name
                self._attempts.preempted(len(result.victims))
                self.cache.nominate(info, nominated)
                if nominated:
                    diagnosis.post_filter = ""
                    self._preempting.add(info.key)
                    scope.spawn(self._preempt(result, info, chooser.profile.name), guard=True)
        self._failed(
            queued, "Unschedulable", diagnosis.message(), scope, plugins=diagnosis.plugins, nominated=nominated
        )

    async def _narrowed(self, nomination: Nomination, info: PodInfo) -> Nomination | Status:
        """Let extenders narrow what preemption chooses among."""
        try:
            candidates = await self._extenders.preempt(info, nomination.candidates, self.cache)
        except ExtenderError as error:
            return Status(Code.ERROR, (f"preemption: {error}",))
        if candidates is nomination.candidates:
            return nomination
        if not candidates:
            return Status(Code.UNSCHEDULABLE, ("preemption: no candidate node for preemption",))
        chosen = best(candidates)
        return replace(nomination, node_name=chosen.node_name, victims=chosen.victims)

    async def _preempt(self, nomination: Nomination, info: PodInfo, scheduler_name: str) -> None:
        """Make room, during which nobody looks for other room; what refused to leave is looked at anew."""
        try:
            evicted = await self._evict(nomination, info, scheduler_name)
        finally:
            self._preempting.discard(info.key)
        if not evicted:
            self.queue.activate(info.key)

    async def _evict(self, nomination: Nomination, info: PodInfo, scheduler_name: str) -> bool:
        """Delete the pods that must make room, and say so on them (their conditions and events)."""
        evicted = True
        for lower in list(self.cache.nominated.get(nomination.node_name, {}).values()):
            if lower.priority < info.priority:
                self.cache.nominate(lower, "")
                self.queue.activate(lower.key)
        for victim in nomination.victims:
            message = f"{scheduler_name}: preempting to accommodate a higher priority pod"
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "PreemptionByScheduler",
                "message": message,
                "lastProbeTime": None,
                "lastTransitionTime": clock.timestamp(),
            }
            if generation := victim.pod["metadata"].get("generation"):
                condition["observedGeneration"] = generation
            name, patch = meta.name(victim.pod), {"status": {"conditions": [condition]}}
            try:
                if not victim.deleting:
                    await self._client.patch(
                        PODS, name, patch, victim.namespace, content_type=STRATEGIC_PATCH, subresource="status"
                    )
                    await self._client.delete(
                        PODS, name, victim.namespace, options={"preconditions": {"uid": victim.uid}}
                    )
            except (errors.StatusError, OSError) as error:
                log.warning("cannot preempt %s: %s", victim.key, error)
                evicted = False
                continue
            text = f"Preempted by pod {info.uid} on node {nomination.node_name}"
            self._recorder.event(
                _typed(victim.pod), NORMAL, "Preempted", text, action="Preempting", related=_typed(info.pod)
            )
        return evicted

    def _failed(
        self,
        queued: QueuedPod,
        reason: str,
        message: str,
        scope: Scope,
        *,
        plugins: Any = (),
        nominated: str | None = None,
    ) -> None:
        """Put a pod back and tell the world why; `nominated` is the node that room is made on, None: as before."""
        self.queue.refused(queued, plugins)
        pod = queued.info.pod
        self._recorder.event(_typed(pod), WARNING, "FailedScheduling", message, action="Scheduling")
        key = queued.info.key
        before = self._reports.get(key)
        report = scope.spawn(self._report(pod, reason, message, nominated, after=before), guard=True)
        self._reports[key] = report
        report.add_done_callback(lambda done: self._reports.pop(key) if self._reports.get(key) is done else None)

    async def _report(
        self, pod: Object, reason: str, message: str, nominated: str | None, *, after: asyncio.Task[None] | None
    ) -> None:
        """Write the condition PodScheduled, once the report before is written."""
        if after is not None:
            await asyncio.wait([after])
        condition: Object = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        if generation := pod["metadata"].get("generation"):
            condition["observedGeneration"] = generation
        old = meta.condition(pod, "PodScheduled") or {}
        status = pod.get("status") or {}
        same = all(old.get(name) == value for name, value in condition.items())
        nominates = nominated is not None and (status.get("nominatedNodeName") or "") != nominated
        if same and not nominates:
            return
        condition["lastProbeTime"] = None
        changed = old.get("status") != "False"
        condition["lastTransitionTime"] = clock.timestamp() if changed else old.get("lastTransitionTime")
        patch: Object = {"metadata": {"uid": meta.uid(pod)}, "status": {"conditions": [condition]}}
        if nominates:
            patch["status"]["nominatedNodeName"] = nominated or None
        try:
            await self._client.patch(
                PODS, meta.name(pod), patch, meta.namespace(pod), content_type=STRATEGIC_PATCH, subresource="status"
            )
        except (errors.StatusError, OSError) as error:
            log.debug("cannot update the status of %s: %s", meta.key_of(pod), error)

    def _pre_enqueue(self, info: PodInfo) -> Status | None:
        chooser = self._choosers[info.pod["spec"].get("schedulerName") or "default-scheduler"]
        for plugin in chooser.profile.at("pre_enqueue"):
            status = plugin.pre_enqueue(info)
            if status is not None:
                return status
        return None

    def _hints_of(self, plugin: str) -> Mapping[str, Hint | None]:
        if plugin == EXTENDER:
            return _EVERY_CHANGE  # nobody knows what an extender looks at
        for chooser in self._choosers.values():
            if plugin in chooser.profile.hints:
                return chooser.profile.hints[plugin]
        return {}


def _typed(pod: Object) -> Object:
    """Return the pod with its kind, which objects out of a list may lack, for events."""
    return pod if pod.get("kind") else {"kind": "Pod", "apiVersion": "v1", **pod}
