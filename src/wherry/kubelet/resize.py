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
from wherry.kubelet import cgroups, podspec, resources
from wherry.kubelet.plan import Kill, Start
from wherry.kubelet.podspec import Container
from wherry.kubelet.runtime_cache import PodRuntime
from wherry.kubelet.services import NodeServices
from wherry.runtime.protocol import RUNNING, ContainerError, ContainerStatus, Resources

Allocated = Mapping[str, dict[str, Any]]

_LISTS = (podspec.INIT, podspec.REGULAR)
_STATUSES = ("initContainerStatuses", "containerStatuses")


def granted(pod: meta.Object) -> dict[str, dict[str, Any]]:
    """Return the resources by container that the status says the pod was granted."""
    status = pod.get("status") or {}
    return {
        found["name"]: found["resources"]
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
        self._pending: tuple[str, str] | None = None
        self._error = ""

    @property
    def deferred(self) -> bool:
        """Whether a resize waits for room."""
        return self._pending is not None and self._pending[0] == "Deferred"

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
        self._error = ""
        before = dict(self.allocated)
        self._decide(pod)
        current = self.as_allocated(pod)
        changed: dict[str, tuple[ContainerStatus, Resources]] = {}
        kills = []
        for _, container in podspec.every_container(current):
            status = runtime.latest(container["name"])
            if status is None or status.state != RUNNING:
                continue
            wanted = resources.container_resources(current, container, node_memory=self._services.node_memory)
            if status.id not in self._applied and before.get(container["name"]):
                # It was started, by an earlier process perhaps, with what had been granted then.
                old = {**container, "resources": before[container["name"]]}
                self._applied[status.id] = resources.container_resources(
                    current, old, node_memory=self._services.node_memory
                )
            if self._applied.setdefault(status.id, wanted) == wanted:
                continue
            if needs_restart(container, before.get(container["name"]) or {}):
                self._applied[status.id] = wanted
                text = f"Container {container['name']} resize requires restart"
                kills.append(Kill(status.id, container["name"], text))
            else:
                changed[status.id] = (status, wanted)
        if changed or kills:
            await self._actuate(current, changed)
        return kills

    def _decide(self, pod: meta.Object) -> None:
        desired = {c["name"]: c.get("resources") or {} for kind, c in podspec.every_container(pod) if kind in _LISTS}
        self._pending = None
        known = {name: self.allocated[name] for name in desired if name in self.allocated}
        if known and any(
            resources.requirements(known[name]) != resources.requirements(desired[name]) for name in known
        ):
            self._pending = self._obstacle(pod)
        if self._pending is None:
            self.allocated = desired

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

    async def _actuate(self, pod: meta.Object, changed: Mapping[str, tuple[ContainerStatus, Resources]]) -> None:
        try:
            for container_id, (status, wanted) in changed.items():
                await self._check_usage(container_id, status, wanted)
            # The kernel refuses a container more than its pod: the pod's own limits are off while they change.
            await self._limit_pod(pod, Resources(cpu_quota=-1, memory_limit=-1))
            for container_id, (_, wanted) in changed.items():
                await self._services.runtime.update_resources(container_id, wanted)
                self._applied[container_id] = wanted
            of_pod = resources.pod_level_resources(pod)
            await self._limit_pod(
                pod, replace(of_pod, cpu_quota=of_pod.cpu_quota or -1, memory_limit=of_pod.memory_limit or -1)
            )
        except (ContainerError, OSError) as error:
            self._error = str(error)

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
        return tuple(found)


def needs_restart(container: Container, before: Mapping[str, Any]) -> bool:
    """Tell whether the resizePolicy of a container wants a restart for what changed since the resources `before`."""
    after = container.get("resources") or {}
    restarting = {
        policy["resourceName"]
        for policy in container.get("resizePolicy") or ()
        if policy.get("restartPolicy") == "RestartContainer"
    }
    return any(
        (before.get(kind) or {}).get(name) != (after.get(kind) or {}).get(name)
        for kind in ("requests", "limits")
        for name in restarting
    )
