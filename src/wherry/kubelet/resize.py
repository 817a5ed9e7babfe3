"""Resizing containers in place (kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources)."""

import asyncio
from dataclasses import replace
from typing import Any

from wherry.api import meta
from wherry.kubelet import cgroups, podspec, resources
from wherry.kubelet.runtime_cache import PodRuntime
from wherry.kubelet.services import NodeServices
from wherry.runtime.protocol import RUNNING, ContainerError, Resources


class Resizer:
    """Brings the limits of one pod's running containers to what its spec says."""

    def __init__(self, services: NodeServices) -> None:
        self._services = services
        self._applied: dict[str, Resources] = {}
        self._infeasible = ""
        self._error = ""

    async def apply(self, pod: meta.Object, runtime: PodRuntime) -> None:
        """Update every running container whose resources changed since it was started or last updated."""
        self._error = ""
        changed: dict[str, Resources] = {}
        for _, container in podspec.every_container(pod):
            status = runtime.latest(container["name"])
            if status is not None and status.state == RUNNING:
                wanted = resources.container_resources(pod, container, node_memory=self._services.node_memory)
                if self._applied.setdefault(status.id, wanted) != wanted:
                    changed[status.id] = wanted
        if not changed or self._does_not_fit(pod):
            return
        try:
            # The kernel refuses a container more than its pod: the pod's own limits are off while they change.
            await self._limit_pod(pod, Resources(cpu_quota=-1, memory_limit=-1))
            for container_id, wanted in changed.items():
                await self._services.runtime.update_resources(container_id, wanted)
                self._applied[container_id] = wanted
            of_pod = resources.pod_level_resources(pod)
            await self._limit_pod(
                pod, replace(of_pod, cpu_quota=of_pod.cpu_quota or -1, memory_limit=of_pod.memory_limit or -1)
            )
        except (ContainerError, OSError) as error:
            self._error = str(error)

    async def _limit_pod(self, pod: meta.Object, limits: Resources) -> None:
        if (groups := self._services.cgroups) is not None:
            await asyncio.to_thread(groups.limit, cgroups.pod_cgroup(pod, self._services.config), limits)

    def _does_not_fit(self, pod: meta.Object) -> bool:
        asked, allocatable = resources.total(pod, "requests"), self._services.allocatable
        self._infeasible = ""
        if allocatable:
            for name, limit in (("cpu", resources.milli_cpu(allocatable)), ("memory", resources.memory(allocatable))):
                if asked[name] > limit:
                    self._infeasible = (
                        f"Node didn't have enough capacity: {name}, requested: {asked[name]}, capacity: {limit}"
                    )
        return bool(self._infeasible)

    def conditions(self, pod: meta.Object) -> tuple[dict[str, Any], ...]:
        """Return the conditions of a resize that waits or failed."""
        found: list[dict[str, Any]] = []
        if self._infeasible:
            found.append(
                {"type": "PodResizePending", "status": "True", "reason": "Infeasible", "message": self._infeasible}
            )
        if self._error:
            found.append({"type": "PodResizeInProgress", "status": "True", "reason": "Error", "message": self._error})
        return tuple(found)
