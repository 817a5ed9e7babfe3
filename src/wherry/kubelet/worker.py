"""One pod's task: drives the pod towards its spec until it is gone.

Each step looks at the whole state and does what `plan.make_plan` says; what takes long (a pull, a hook, a kill) runs
beside it and wakes it at its end. A step that fails is tried again with back-off; every step may be repeated.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from wherry.api import errors, meta
from wherry.api.resources import PODS
from wherry.images.protocol import Image
from wherry.kubelet import (
    admitting,
    cgroups,
    conditions,
    deadcontainers,
    labels,
    podlogs,
    podspec,
    sandboxes,
    stopping,
    termination,
)
from wherry.kubelet.crashes import EventBackoff
from wherry.kubelet.ground import GroundMaker
from wherry.kubelet.hooks import HookError
from wherry.kubelet.plan import Kill, Start, Verdicts, make_plan
from wherry.kubelet.podspec import Container
from wherry.kubelet.probes.prober import PodProbes
from wherry.kubelet.pulling import WAITING_REASONS, NotReady
from wherry.kubelet.pulls import SHOW_ERROR, Images, PodPulls, wants
from wherry.kubelet.resize import Resizer
from wherry.kubelet.runtime_cache import PodRuntime
from wherry.kubelet.services import NodeServices
from wherry.kubelet.starting import ContainerStarter, EndedAtStart, Ground, StartFailed
from wherry.kubelet.status import Failure, Observed, Waiting, pod_status
from wherry.kubelet.together import together
from wherry.kubelet.volumes.manager import MountFailed
from wherry.kubelet.words import duration, said
from wherry.runtime.protocol import EXITED, RUNNING, ContainerError, ContainerStatus
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Scope, cancel

log = logging.getLogger(__name__)


class PodWorker:
    """Owns one pod on this node. The methods but `run` only note something and wake it."""

    def __init__(self, pod: meta.Object, services: NodeServices, scope: Scope) -> None:
        self.pod = pod
        self.uid = meta.uid(pod)
        self.done = asyncio.Event()
        self._services = services
        self._scope = scope
        self._starter = ContainerStarter(services)
        self._probes = PodProbes(services.checker, services.events, scope, self.wake, counts=services.probe_counts)
        self._resizer = Resizer(pod, services)
        self._crashes = EventBackoff(*services.config.crash_backoff)
        self._errors = Backoff(0.5, 60.0)
        self._setbacks = Backoff(0.5, 60.0)
        self._wake = asyncio.Event()
        self._removed = False
        self._adopted = bool((pod.get("status") or {}).get("startTime"))
        self._stopped = False
        self._dirty = False
        self._failure: Failure | None = None
        self._ground: Ground | None = None
        self._restarting: dict[str, Any] | None = None
        self._restarts: dict[str, int] = {}
        self._waiting: dict[str, Waiting] = {}
        self._retry: dict[str, float] = {}
        self._messages: dict[str, str] = {}
        self._pulls = PodPulls(self._starter, scope, self.wake)
        self._maker = GroundMaker(services, self._starter)
        self._beside: dict[str, asyncio.Task[None]] = {}
        self._hidden: set[str] = set()
        self._announced: set[str] = set()
        self._start_time = (pod.get("status") or {}).get("startTime") or clock.timestamp()
        self._kill_by: float | None = None
        self._began = clock.monotonic()

    def wake(self) -> None:
        """Have the worker look at its pod now."""
        self._wake.set()

    def update(self, pod: meta.Object) -> None:
        """Take a newer state of the pod."""
        old, self.pod = self.pod, pod
        self._probes.update(pod)
        if meta.labels(old) != meta.labels(pod) or meta.annotations(old) != meta.annotations(pod):
            self._dirty = True
        self.wake()

    def objects_changed(self) -> None:
        """An object that the pod names has changed: its volumes may have to follow, and what failed may work now."""
        self._dirty = True
        self._retry.clear()
        self.wake()

    def image_named(self, image: Image) -> None:
        """An image has come by a name: who waits for it need not wait for another pull."""
        for name, waiting in self._waiting.items():
            container = podspec.find_container(self.pod, name)
            if container is None or waiting.reason not in WAITING_REASONS or name not in self._retry:
                continue
            if wants(self.pod, container, image):
                del self._retry[name]
                self.wake()

    def remove(self, pod: meta.Object) -> None:
        """The pod has left the API."""
        self.pod = pod
        self._removed = True
        self.wake()

    def evict(self, failure: Failure, *, grace: float) -> None:
        """End the pod as failed, within `grace` seconds or its own grace period."""
        self._failure = self._failure or failure
        self._kill_by = clock.monotonic() + min(grace, podspec.grace_period(self.pod))
        self.wake()

    async def run(self) -> None:
        """Drive the pod until nothing of it is left."""
        while not self.done.is_set():
            self._wake.clear()
            try:
                delay = await self._step()
                self._errors.reset()
            except (errors.StatusError, ContainerError, OSError, TimeoutError) as error:
                delay = self._errors.next()
                log.warning("pod %s: %s; trying again in %.1fs", meta.key_of(self.pod), error, delay)
            except Exception:
                # A defect must not leave the pod without its worker: every step starts from what there is.
                delay = self._errors.next()
                log.exception("pod %s: trying again in %.1fs", meta.key_of(self.pod), delay)
            self._services.starting.discard(self.uid)
            if not self.done.is_set():
                await self._wait(delay)

    async def _wait(self, delay: float | None) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), delay)
        except TimeoutError:
            pass

    async def _step(self) -> float | None:
        self._began = clock.monotonic()
        if self._removed or meta.is_deleting(self.pod):
            await self._terminate()
            return None
        if self._stopped:
            self._publish()
            return None
        self._check_deadline()
        if self._failure is None and not self._adopted:
            self._failure = await admitting.rejected(self.pod, self._services)
            self._adopted = True
        if self._failure is not None or podspec.is_terminal(self.pod):
            await self._finish()
            return None
        return await self._sync()

    def _check_deadline(self) -> None:
        if self._failure is None and (left := self._deadline()) is not None and left <= 0:
            text = "Pod was active on the node longer than the specified deadline"
            self._failure = Failure("DeadlineExceeded", text)
            self._services.events.normal(self.pod, "DeadlineExceeded", text)

    def _deadline(self) -> float | None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        return None if limit is None else float(limit) - clock.since(self._start_time).total_seconds()

    # Towards running.

    async def _sync(self) -> float | None:
        runtime = self._services.cache.pod(self.uid)
        await self._read_messages(runtime)
        plan = make_plan(self.pod, runtime, self._verdicts())
        if plan.restart_all is not None:
            return await self._restart_all(plan.restart_all)
        if plan.finished:
            await self._finish()
            return None
        adopting = self._ground is None and not plan.create_sandbox
        if self._ground is not None:
            await self._follow_probes(runtime)
        for kill in plan.kill:
            self._kill(kill, runtime.containers[kill.container_id])
        if plan.create_sandbox:
            self._services.starting.add(self.uid)
        if plan.create_sandbox or adopting:
            if not await self._prepare(create=plan.create_sandbox, replace=plan.kill_sandbox):
                return self._next_wake()
            if adopting:
                # Probes of what an earlier process started need the address; the next plan counts what they say.
                await self._follow_probes(runtime)
                return 0.0
        elif self._ground is not None and (self._dirty or self._token_due()):
            self._dirty = False
            await self._maker.refresh(self.pod, self._ground.addresses)
        for kill in await self._resizer.apply(self.pod, runtime):
            self._kill(kill, runtime.containers[kill.container_id])
        for start in plan.start:
            if any(key.startswith("hook ") for key in self._beside) and start.kind != podspec.EPHEMERAL:
                break  # a postStart hook holds back the containers after its own
            await self._start(start)
        await self._prune()
        self._publish()
        return self._next_wake()

    async def _restart_all(self, trigger: ContainerStatus) -> float | None:
        """End all containers at once and forget them, so that the pod starts from the beginning in its sandbox."""
        services, now = self._services, clock.seconds()
        if (left := self._crashes.remaining(_WHOLE, event=trigger.finished_at, now=now)) > 0:
            self._publish()
            return left
        self._crashes.advance(_WHOLE, now=now)
        self._restarting = conditions.restarting(trigger.name, trigger.exit_code, still=True)
        self._publish()
        await together(self._pulls.cancel(), cancel(*self._beside.values()))
        ephemeral = {container["name"] for container in podspec.ephemeral_containers(self.pod)}
        runtime = services.cache.pod(self.uid)
        attempts = [status for status in runtime.containers.values() if status.name not in ephemeral]
        for status in attempts:
            count = labels.restart_count(status.labels) + 1
            self._restarts[status.name] = max(self._restarts.get(status.name, 0), count)
        await together(*(self._stop_one(s, "", 0.0) for s in attempts if s.state == RUNNING))
        self._publish()
        for status in attempts:
            await self._probes.forget(status.id)
            await sandboxes.remove_container(self.uid, status.id, services)
            self._messages.pop(status.id, None)
        self._hidden.clear()
        self._restarting = conditions.restarting(trigger.name, trigger.exit_code, still=False)
        self._publish()
        return 0.0

    def _verdicts(self) -> Verdicts:
        return Verdicts(
            failed=self._probes.failed,
            started=lambda cid: cid not in self._hidden and self._probes.started(cid),
            grace=self._probes.grace,
        )

    async def _prepare(self, *, create: bool, replace: bool) -> bool:
        """Make volumes and sandbox, or find those that an earlier process left; return whether they are there."""
        services = self._services
        if self._retry.get("", 0.0) > self._began:
            return False
        self._publish(settle=True)
        if replace:
            text = "Pod sandbox changed, it will be killed and re-created."
            services.events.normal(self.pod, "SandboxChanged", text)
            await self._stop_containers()
            await self._maker.stop(self.pod)
            self._retry.clear()
        try:
            self._ground = await (self._maker.make(self.pod) if create else self._maker.find(self.pod))
        except MountFailed:
            return self._prepare_again()
        except (ContainerError, OSError) as error:
            text = f"Failed to create pod sandbox: {said(error)}"
            services.events.warning(self.pod, "FailedCreatePodSandBox", text)
            return self._prepare_again()
        self._retry.pop("", None)
        self._setbacks.reset()
        self._probes.address = self._ground.addresses[0] if self._ground.addresses else ""
        return True

    def _prepare_again(self) -> bool:
        self._retry[""] = clock.monotonic() + self._setbacks.next()
        self._publish()
        return False

    async def _start(self, start: Start) -> None:
        name = start.container["name"]
        start = replace(start, restart_count=max(start.restart_count, self._restarts.get(name, 0)))
        if self._retry.get(name, 0.0) > self._began or self._ground is None:
            return
        if self._backs_off(name, start.after):
            return
        images = await self._images(start.container)
        if images is None:
            return
        if start.after is not None and start.after.state == EXITED:
            self._crashes.advance(name, now=clock.seconds())
        self._waiting.pop(name, None)
        self._retry.pop(name, None)
        try:
            async with self._services.starts:
                container_id = await self._starter.start(
                    *self._resizer.grant(self.pod, start), images.own, self._ground, volume_images=images.volumes
                )
        except EndedAtStart:
            return
        except StartFailed as error:
            self._waiting[name] = Waiting(error.reason, str(error))
            self._retry[name] = clock.monotonic() + self._crashes.advance(name, now=clock.seconds())
            return
        if (start.container.get("lifecycle") or {}).get("postStart") and start.kind != podspec.EPHEMERAL:
            self._hidden.add(container_id)
            self._aside(f"hook {container_id}", self._post_start(start.container, container_id))
        await self._follow_probes(self._services.cache.pod(self.uid))

    def _backs_off(self, name: str, after: ContainerStatus | None) -> bool:
        if after is None or after.state != EXITED:
            return False
        left = self._crashes.remaining(name, event=after.finished_at, now=clock.seconds())
        if left <= 0:
            return False
        who = f"{meta.name(self.pod)}_{meta.namespace(self.pod)}({self.uid})"
        text = f"back-off {duration(self._crashes.delay(name))} restarting failed container={name} pod={who}"
        self._waiting[name] = Waiting("CrashLoopBackOff", text)
        self._retry[name] = clock.monotonic() + left
        text = f"Back-off restarting failed container {name} in pod {who}"
        self._services.events.warning(self.pod, "BackOff", text, container=name)
        return True

    async def _images(self, container: Container) -> Images | None:
        """Return a container's images when they are here; a pull runs beside and wakes the worker."""
        name = container["name"]
        try:
            return await self._pulls.images(self.pod, container)
        except NotReady as error:
            self._waiting[name] = error.waiting
            self._retry[name] = clock.monotonic() + error.retry
            if error.waiting.reason == "ErrImagePull":
                self._retry[name] = clock.monotonic() + min(error.retry, SHOW_ERROR)
            return None

    async def _post_start(self, container: Container, container_id: str) -> None:
        address, name = self._probes.address, container["name"]
        try:
            await self._services.hooks.run("PostStart", container, container_id=container_id, address=address)
        except HookError as error:
            # What the hook wrote may be secret: it is for those who may read the pod, not its events.
            self._services.events.warning(self.pod, "FailedPostStartHook", "PostStartHook failed", container=name)
            status = self._services.cache.pod(self.uid).containers.get(container_id)
            if status is not None and status.state == RUNNING:
                await self._stop_one(status, "FailedPostStartHook", None)
            if podspec.restarts_after(self.pod, container, _KILLED):
                self._waiting[name] = Waiting("PostStartHookError", str(error))
                self._retry[name] = clock.monotonic() + SHOW_ERROR
        finally:
            self._hidden.discard(container_id)

    def _kill(self, kill: Kill, status: ContainerStatus) -> None:
        key = f"kill {kill.container_id}"
        if key not in self._beside:
            self._aside(key, self._stop_one(status, kill.message, kill.grace))

    async def _stop_one(self, status: ContainerStatus, message: str, grace: float | None) -> None:
        await stopping.stop_container(
            self.pod,
            status,
            self._services,
            grace=podspec.grace_period(self.pod) if grace is None else grace,
            announced=self._announced,
            message=message,
            address=self._probes.address,
        )

    def _aside(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except (ContainerError, OSError) as error:
                log.warning("pod %s: %s", meta.key_of(self.pod), error)
            finally:
                self._beside.pop(key, None)
                self.wake()

        self._beside[key] = self._scope.spawn(run(), name=f"{key} {meta.key_of(self.pod)}", guard=True)

    async def _follow_probes(self, runtime: PodRuntime) -> None:
        self._probes.address = self._ground.addresses[0] if self._ground and self._ground.addresses else ""
        running = set()
        for kind, container in podspec.every_container(self.pod):
            status = runtime.latest(container["name"])
            if status is None or status.state != RUNNING or status.id in self._hidden:
                continue
            running.add(status.id)
            if kind == podspec.REGULAR or podspec.is_sidecar(container):
                ready, started = self._reported(status.id)
                self._probes.watch(self.pod, container, status, was_ready=ready, was_started=started)
        for container_id in self._probes.known() - running:
            await self._probes.forget(container_id)

    def _reported(self, container_id: str) -> tuple[bool, bool]:
        """Return what the API has of an attempt: ready, started."""
        status = self.pod.get("status") or {}
        for key in ("containerStatuses", "initContainerStatuses"):
            for found in status.get(key) or ():
                if (found.get("containerID") or "").endswith(f"://{container_id}"):
                    return bool(found.get("ready")), bool(found.get("started"))
        return False, False

    async def _read_messages(self, runtime: PodRuntime) -> None:
        for status in runtime.containers.values():
            if status.state == EXITED and status.id not in self._messages:
                config = self._services.config
                self._messages[status.id] = await asyncio.to_thread(termination.read_message, config, status)

    async def _prune(self) -> None:
        for container_id in await deadcontainers.prune(self.pod, self._services):
            self._messages.pop(container_id, None)

    def _token_due(self) -> bool:
        renewal = self._services.tokens.renewal(self.uid)
        return renewal is not None and renewal <= clock.seconds()

    def _next_wake(self) -> float | None:
        now = clock.monotonic()
        # What was not due when this step began was passed over, also where it is due by now.
        times = [at - now for at in self._retry.values() if at > self._began]
        if (left := self._deadline()) is not None:
            times.append(left)
        if (again := self._resizer.again) is not None:
            times.append(again)
        if (renewal := self._services.tokens.renewal(self.uid)) is not None:
            times.append(renewal - clock.seconds())
        # Not less than a millisecond: two clocks may disagree in the last bit about a time that has come.
        return max(0.001, min(times)) if times else None

    # Status.

    def _publish(self, *, settle: bool = False) -> None:
        runtime = self._services.cache.pod(self.uid)
        shown = PodRuntime(
            sandboxes=runtime.sandboxes,
            containers={cid: c for cid, c in runtime.containers.items() if cid not in self._hidden},
        )
        ids = [c.id for c in shown.containers.values() if c.state == RUNNING]
        addresses = self._ground.addresses if self._ground else ()
        if not addresses:
            addresses = tuple(entry["ip"] for entry in (self.pod.get("status") or {}).get("podIPs") or ())
        status = pod_status(
            self.pod,
            Observed(
                runtime=shown,
                now=clock.timestamp(),
                start_time=self._start_time,
                host_ip=self._services.config.address,
                pod_ips=tuple(addresses),
                waiting=self._waiting,
                ready=frozenset(cid for cid in ids if self._probes.ready(cid)),
                started=frozenset(cid for cid in ids if self._probes.started(cid)),
                messages=self._messages,
                failure=self._failure,
                stopped=self._stopped,
                restarting=self._restarting is not None and self._restarting["status"] == "True",
                restarted=bool(self._restarts),
                extra=(*self._resizer.conditions(), *self._disruption(), *self._restarting_condition()),
                allocated=self._resizer.allocated,
                actual=self._resizer.actual(),
                previous=self._services.statuses.get(self.uid),
            ),
        )
        self._services.statuses.set(self.pod, status, settle=settle)

    def _disruption(self) -> tuple[dict[str, Any], ...]:
        if self._failure is None or self._failure.reason != "Evicted":
            return ()
        return (conditions.disruption(self._failure.message),)

    def _restarting_condition(self) -> tuple[dict[str, Any], ...]:
        return () if self._restarting is None else (self._restarting,)

    # Towards the end.

    async def _finish(self) -> None:
        """Stop what still runs of a pod that has ended, release its network and volumes; the object stays."""
        await self._stop_containers()
        await self._read_messages(self._services.cache.pod(self.uid))
        self._stopped = True
        self._publish()
        await self._probes.close()
        services = self._services
        await sandboxes.stop(self.uid, services)
        for container_id in list(services.cache.pod(self.uid).containers):
            await services.images.unmount(container_id)
        await self._release()

    async def _terminate(self) -> None:
        """Stop the pod, remove all that is left of it, and its object."""
        services = self._services
        await self._stop_containers()
        await self._read_messages(services.cache.pod(self.uid))
        self._stopped = True
        if not self._removed:
            self._publish()
        await self._probes.close()
        await sandboxes.remove(self.uid, services)
        await self._release()
        await asyncio.to_thread(podlogs.remove, services.config, self.pod)
        if not self._removed:
            await services.statuses.flush(self.uid)
            if not podspec.is_static(self.pod):
                await self._delete()
        services.statuses.forget(self.uid)
        self.done.set()

    async def _release(self) -> None:
        services = self._services
        await self._maker.release()
        await self._starter.release_images(self.pod)
        await services.volumes.tear_down(self.uid)
        if services.cgroups is not None:
            await asyncio.to_thread(cgroups.remove, self.uid, services.config, services.cgroups)
        services.objects.release(self.uid)
        services.tokens.forget(self.uid)
        services.puller.forget(self.uid)

    async def _delete(self) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        try:
            await self._services.client.delete(PODS, meta.name(self.pod), meta.namespace(self.pod), options=options)
        except (errors.NotFound, errors.Conflict):
            pass  # it is gone, or its name is another's already

    async def _stop_containers(self) -> None:
        """Stop all containers within the grace period; a shorter one that comes meanwhile counts."""
        await self._probes.stop_restarts()
        await together(self._pulls.cancel(), cancel(*self._beside.values()))
        self._hidden.clear()
        while self._services.cache.pod(self.uid).running():
            by = self._stop_by()
            work = self._scope.spawn(
                stopping.stop_all(
                    self.pod,
                    self._services,
                    grace=max(0.0, by - clock.monotonic()),
                    announced=self._announced,
                    address=self._probes.address,
                    on_stopped=self._publish,
                ),
                guard=True,
            )
            while not work.done() and self._stop_by() >= by:
                self._wake.clear()
                woken = self._scope.spawn(self._wake.wait())
                await asyncio.wait({work, woken}, return_when=asyncio.FIRST_COMPLETED)
                await cancel(woken)
                if not work.done() and not self._removed:
                    self._publish()  # readiness is probed until the end
            if work.done():
                work.result()
            await cancel(work)

    def _stop_by(self) -> float:
        """Return the time (monotonic) by which the containers must have ended; it only ever comes nearer."""
        grace = podspec.grace_period(self.pod)
        if self._removed:
            # Only a forced deletion takes the object away before its containers have ended.
            grace = min(grace, stopping.MINIMUM_GRACE)
        by = clock.monotonic() + grace
        if self._kill_by is None or by < self._kill_by:
            self._kill_by = by
        return self._kill_by


_WHOLE = ""  # the key of the back-off between restarts of all containers
_KILLED = 137  # the exit code of a container that was killed
