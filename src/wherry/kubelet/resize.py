"""Resizing containers in place (kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources).

What the spec asks for is desired; what this node has granted is allocated. A desire that the node can never meet is
Infeasible, one that it cannot meet beside its other pods is Deferred and tried again. What is granted is given to the
running containers at once, by their cgroups, or by a restart where the container's resizePolicy wants one.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wherry.api import meta
from wherry.kubelet import cgroups, podspec, resizeevents, resources
from wherry.kubelet.plan import Kill, Start
from wherry.kubelet.podspec import Container
from wherry.kubelet.runtime_cache import PodRuntime
from wherry.kubelet.services import NodeServices
from wherry.kubelet.words import said
from wherry.runtime.protocol import RUNNING, ContainerError, ContainerStatus, Resources

Allocated = Mapping[str, dict[str, Any]]

_ROOM_PERIOD, _FAILURE_PERIOD = 3.0, 10.0
_LISTS = (podspec.INIT, podspec.REGULAR)
_STATUSES = ("initContainerStatuses", "containerStatuses")


def granted(pod: meta.Object) -> dict[str, dict[str, Any]]:
    """Return the resources by container that the status says the pod was granted."""
    status = pod.get("status") or {}
    return {
        found["name"]: {**found["resources"], "requests": found["allocatedResources"]}
        for key in _STATUSES
        for found in status.get(key) or ()
        if found.get("allocatedResources") and found.get("resources")
    }


def with_resources(pod: meta.Object, allocated: Allocated) -> meta.Object:
    """Return the pod with the resources of `allocated` in its containers' places."""
    changed = {
        kind: [{**c, "resources": allocated.get(c["name"], c.get("resources") or {})} for c in pod["spec"][kind]]
        for kind in _LISTS
        if pod["spec"].get(kind)
    }
    return {**pod, "spec": {**pod["spec"], **changed}}


class Resizer:
    """Brings one pod's containers to what its spec says, as far as the node can. `allocated` is what they have."""

    def __init__(self, pod: meta.Object, services: NodeServices) -> None:
        self._services = services
        self.allocated: dict[str, dict[str, Any]] = granted(pod)
        self._applied: dict[str, Resources] = {}
        self._held: dict[str, dict[str, Any]] = {}
        self._pending: tuple[str, str] | None = None
        self._error = ""
        self._told: tuple[Any, ...] = ()
        self._in_progress = False
        self._unlimited = False
        self._killed: dict[str, str] = {}

    @property
    def again(self) -> float | None:
        """Seconds until a resize that waits for room, or has failed, is to be tried again; None when there is none."""
        if self._pending is not None and self._pending[0] == "Deferred":
            return _ROOM_PERIOD
        return _FAILURE_PERIOD if self._error else None

    def actual(self) -> dict[str, dict[str, Any]]:
        """Return the resources that running containers have by name: until a resize is done, or where it fails, not
        those allocated (kubelet, ``convertToAPIContainerStatuses``)."""
        allocated = self.allocated
        return {name: _actual(allocated[name], held) for name, held in self._held.items() if name in allocated}

    def as_allocated(self, pod: meta.Object) -> meta.Object:
        """Return the pod as this node runs it."""
        return with_resources(pod, self.allocated)

    def grant(self, pod: meta.Object, start: Start) -> tuple[meta.Object, Start]:
        """Return the pod and the start of one of its containers with what was allocated to them."""
        allocated = self.as_allocated(pod)
        container = podspec.find_container(allocated, start.container["name"]) or start.container
        return allocated, replace(start, container=container)

    async def apply(self, pod: meta.Object, runtime: PodRuntime) -> list[Kill]:
        """Grant what fits and give it to the running containers; return those that have to be restarted for it."""
        before = dict(self.allocated)
        if self._decide(pod):
            self._in_progress, self._error = True, ""
            self._services.events.normal(pod, "ResizeStarted", resizeevents.message("started", pod))
        current = self.as_allocated(pod)
        changed: dict[str, tuple[ContainerStatus, Resources]] = {}
        kills = []
        for _, container in podspec.every_container(current):
            status = runtime.latest(container["name"])
            if status is None or status.state != RUNNING:
                continue
            wanted = resources.container_resources(current, container, node_memory=self._services.node_memory)
            name = container["name"]
            if status.id not in self._applied and before.get(name):
                # It was started, by an earlier process perhaps, with what had been granted then.
                old = {**container, "resources": before[name]}
                self._applied[status.id] = resources.container_resources(
                    current, old, node_memory=self._services.node_memory
                )
                self._held.setdefault(name, before[name])
            applied = self._applied.setdefault(status.id, wanted)
            had = self._held.get(name, before.get(name))
            if had is not None and needs_restart(container, had):
                self._applied[status.id] = wanted
                self._held.pop(name, None)
                kills.append(Kill(status.id, name, f"Container {name} resize requires restart"))
                self._killed[status.id] = name
            elif applied == wanted:
                self._held[name] = container.get("resources") or {}
            else:
                changed[status.id] = (status, wanted)
        done = self._is_done(runtime)
        if changed or kills or self._error or (self._unlimited and done):
            await self._actuate(current, changed, done=done)
        if self._in_progress and not self._error and done:
            self._in_progress = False
            self._killed.clear()
            self._services.events.normal(pod, "ResizeCompleted", resizeevents.message("completed", current))
        return kills

    def _is_done(self, runtime: PodRuntime) -> bool:
        """Tell whether every container that had to restart has done so."""
        latest = {name: runtime.latest(name) for name in self._killed.values()}
        return all((found := latest[name]) is not None and found.id != killed for killed, name in self._killed.items())

    def _decide(self, pod: meta.Object) -> bool:
        """Allocate what the spec asks for, unless something stands against it; return whether that is a resize."""
        desired = {c["name"]: c.get("resources") or {} for kind, c in podspec.every_container(pod) if kind in _LISTS}
        self._pending = None
        known = {name: self.allocated[name] for name in desired if name in self.allocated}
        asked = any(resources.requirements(known[name]) != resources.requirements(desired[name]) for name in known)
        if asked:
            self._pending = self._obstacle(pod)
        if self._pending is None:
            self.allocated = desired
            return asked
        self._tell_pending(pod, *self._pending)
        return False

    def _tell_pending(self, pod: meta.Object, reason: str, why: str) -> None:
        """Record that a resize has to wait, once for each reason and generation."""
        told = (reason, why, pod["metadata"].get("generation"))
        if told != self._told:
            self._told = told
            self._services.events.warning(pod, f"Resize{reason}", resizeevents.message(reason, pod, why))

    def _obstacle(self, pod: meta.Object) -> tuple[str, str] | None:
        """Return the reason and message of what stands against a resize."""
        allocatable = self._services.allocatable
        if not allocatable:
            return None
        asked = resources.total(pod, "requests")
        limits = {"cpu": resources.milli_cpu(allocatable), "memory": resources.memory(allocatable)}
        for name, limit in limits.items():
            if asked[name] > limit:
                text = f"Node didn't have enough capacity: {name}, requested: {asked[name]}, capacity: {limit}"
                return "Infeasible", text
        used = [resources.total(with_resources(o, granted(o)), "requests") for o in self._services.others(pod)]
        for name, limit in limits.items():
            taken = sum(each[name] for each in used)
            if asked[name] and taken + asked[name] > limit:
                amounts = f"requested: {asked[name]}, used: {taken}, capacity: {limit}"
                return "Deferred", f"Node didn't have enough resource: {name}, {amounts}"
        return None

    async def _actuate(
        self, pod: meta.Object, changed: Mapping[str, tuple[ContainerStatus, Resources]], *, done: bool
    ) -> None:
        """Give running containers what is new for them, and the pod its own limits when all are `done` restarting."""
        try:
            for container_id, (status, wanted) in changed.items():
                await self._check_usage(container_id, status, wanted)
            # The kernel refuses a container more than its pod: the pod's own limits are off while they change.
            await self._limit_pod(pod, Resources(cpu_quota=-1, memory_limit=-1))
            for container_id, (status, wanted) in changed.items():
                await self._services.runtime.update_resources(container_id, wanted)
                self._applied[container_id] = wanted
                self._held[status.name] = self.allocated[status.name]
            self._unlimited = not done
            if done:
                of_pod = resources.pod_level_resources(pod)
                quota, limit = of_pod.cpu_quota or -1, of_pod.memory_limit or -1
                await self._limit_pod(pod, replace(of_pod, cpu_quota=quota, memory_limit=limit))
        except (ContainerError, OSError) as error:
            before, self._error = self._error, said(error)
            if self._error != before:
                self._services.events.warning(pod, "ResizeError", resizeevents.message("error", pod, self._error))
        else:
            self._error = ""

    async def _check_usage(self, container_id: str, status: ContainerStatus, wanted: Resources) -> None:
        if wanted.memory_limit is None:
            return
        stats = await self._services.runtime.stats(container_id)
        if stats is not None and stats.memory_working_set > wanted.memory_limit:
            raise ContainerError(
                f'attempting to set container "{status.name}" memory limit ({wanted.memory_limit}) '
                f"below current usage ({stats.memory_working_set})"
            )

    async def _limit_pod(self, pod: meta.Object, limits: Resources) -> None:
        if (groups := self._services.cgroups) is not None:
            await asyncio.to_thread(groups.limit, cgroups.pod_cgroup(pod, self._services.config), limits)

    def conditions(self) -> tuple[dict[str, Any], ...]:
        """Return the conditions of a resize that waits or failed."""
        found: list[dict[str, Any]] = []
        if self._pending is not None:
            reason, message = self._pending
            found.append({"type": "PodResizePending", "status": "True", "reason": reason, "message": message})
        if self._error:
            found.append({"type": "PodResizeInProgress", "status": "True", "reason": "Error", "message": self._error})
        elif self._in_progress:
            found.append({"type": "PodResizeInProgress", "status": "True"})
        return tuple(found)


def _actual(allocated: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """Return `allocated` with what the kernel keeps to as it is in `held`; of a request for memory it knows nothing."""
    actual: dict[str, Any] = {}
    for kind, names in (("limits", ("cpu", "memory")), ("requests", ("cpu",))):
        if kind in allocated:
            known = {name: (held.get(kind) or {}).get(name) for name in names}
            actual[kind] = {**allocated[kind], **{name: value for name, value in known.items() if value is not None}}
    return {**allocated, **actual}


def needs_restart(container: Container, before: Mapping[str, Any]) -> bool:
    """Tell whether the resizePolicy of a container wants a restart for what changed since the resources `before`."""
    policies = container.get("resizePolicy") or ()
    restarting = {p["resourceName"] for p in policies if p.get("restartPolicy") == "RestartContainer"}
    if not restarting:
        return False
    was, now = resources.requirements(before), resources.requirements(container.get("resources") or {})
    return any(was[at::2] != now[at::2] for at, name in enumerate(("cpu", "memory")) if name in restarting)
