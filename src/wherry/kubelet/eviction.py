"""Eviction: pods that end because the node runs short of something, or because they use more disk than they may.

The rules are those of kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction: while memory, disk or
process ids are short, one pod at a time goes, first of those that use more than they asked for, the least important
first, then the one furthest above its request. Critical pods stay. Unused images go before any pod does.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.api import meta, quantity
from wherry.kubelet import podspec, resources
from wherry.kubelet.garbage import ImageCollector
from wherry.kubelet.node_status import NodeStatus
from wherry.kubelet.pods import PodManager
from wherry.kubelet.pressure import INODES, MEMORY, STORAGE, Shortage
from wherry.kubelet.services import NodeServices
from wherry.kubelet.status import Failure
from wherry.util import clock, disk
from wherry.util.disk import DiskUsage

log = logging.getLogger(__name__)

REASON = "Evicted"
_WAIT_FOR_END = 30.0
"""How long the next eviction waits for the end of the last one's pod, in seconds."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one container, or with no name the pod's volumes, uses of the resource in question, and asked for."""

    name: str
    used: int
    requested: int


def rank(pods: Sequence[tuple[meta.Object, Sequence[Usage]]]) -> list[tuple[meta.Object, Sequence[Usage]]]:
    """Return the pods that may be evicted, the first to go first."""

    def key(entry: tuple[meta.Object, Sequence[Usage]]) -> tuple[bool, int, int]:
        pod, usage = entry
        over = sum(u.used for u in usage) - sum(u.requested for u in usage)
        return over <= 0, pod["spec"].get("priority") or 0, -over

    return sorted((entry for entry in pods if not podspec.is_critical(entry[0])), key=key)


def low_message(shortage: Shortage, usage: Sequence[Usage]) -> str:
    """Return what an evicted pod's status says."""
    amounts = f"Threshold quantity: {shortage.threshold}, available: {shortage.available}. "
    text = f"The node was low on resource: {shortage.resource}. {amounts}"
    if shortage.resource not in (MEMORY, STORAGE):
        return text
    for container in usage:
        if container.name and container.used > container.requested:
            used, asked = (
                quantity.of(container.used // 1024 * 1024, "BinarySI"),
                quantity.of(container.requested, "BinarySI"),
            )
            text += (
                f"Container {container.name} was using {used}, request is {asked}, "
                f"has larger consumption of {shortage.resource}. "
            )
    return text


class Evictor:
    """Looks every ten seconds; `status` says what the node is short of."""

    def __init__(
        self, manager: PodManager, services: NodeServices, status: NodeStatus, collector: ImageCollector
    ) -> None:
        self._manager = manager
        self._services = services
        self._status = status
        self._collector = collector
        self._last = ""
        self._evicted_at = 0.0

    async def run(self) -> None:
        """Evict until cancelled."""
        while True:
            await clock.sleep(self._services.config.pressure_period)
            try:
                await self.look()
            except OSError as error:
                log.warning("cannot look for pods to evict: %s", error)

    async def look(self) -> None:
        """Evict the pods that break their own limits; with the node short of something, one more."""
        pods = [p for p in self._manager.pods() if not podspec.is_terminal(p) and not meta.is_deleting(p)]
        broken = [(pod, message) for pod in pods if (message := await self._broken_limit(pod))]
        for pod, message in broken:
            self._evict(pod, message, 1.0)
        await self._status.measure()
        shortage = self._status.shortage()
        if broken or shortage is None or self._waits():
            return
        self._status.warn("EvictionThresholdMet", f"Attempting to reclaim {shortage.resource}")
        if shortage.resource in (STORAGE, INODES) and await self._collector.collect(everything=True):
            await self._status.measure()
            shortage = self._status.shortage()
            if shortage is None:
                return
        measured = [(pod, await self._usage(pod, shortage.resource)) for pod in pods if self._runs(pod)]
        for pod, usage in rank(measured):
            self._evict(pod, low_message(shortage, usage), shortage.grace)
            return

    def _runs(self, pod: meta.Object) -> bool:
        return bool(self._services.cache.pod(meta.uid(pod)).running())

    def _waits(self) -> bool:
        """Tell whether the pod that was evicted last still runs: what it holds will be free soon."""
        running = self._services.cache.pod(self._last).running() if self._last else ()
        return bool(running) and clock.monotonic() - self._evicted_at < _WAIT_FOR_END

    def _evict(self, pod: meta.Object, message: str, grace: float) -> None:
        worker = self._manager.worker(meta.uid(pod))
        if worker is not None:
            self._services.events.warning(pod, REASON, message)
            worker.evict(Failure(REASON, message), grace=grace)
            self._last, self._evicted_at = meta.uid(pod), clock.monotonic()

    async def _usage(self, pod: meta.Object, resource: str) -> list[Usage]:
        if resource in (STORAGE, INODES):
            found = await self._storage(pod)
            volumes = [v["name"] for v in pod["spec"].get("volumes") or () if _is_on_disk(v)]
            of_volumes = sum([await self._volume(pod, name) for name in volumes], DiskUsage())
            if resource == INODES:  # which nobody can ask for
                return [*(Usage(name, used.inodes, 0) for name, used in found.items()), Usage("", of_volumes.inodes, 0)]
            shares = [Usage(name, used.size, _amount(pod, name, "requests", STORAGE)) for name, used in found.items()]
            return [*shares, Usage("", of_volumes.size, 0)]
        result = []
        for status in self._services.cache.pod(meta.uid(pod)).running():
            stats = await self._services.runtime.stats(status.id)
            if stats is not None and resource == MEMORY:
                asked = _amount(pod, status.name, "requests", "memory")
                result.append(Usage(status.name, stats.memory_working_set, asked))
            elif stats is not None:
                result.append(Usage(status.name, stats.pids, 0))
        return result

    async def _storage(self, pod: meta.Object) -> dict[str, DiskUsage]:
        """Return what each container of a pod has written to its root and its logs."""
        found: dict[str, DiskUsage] = {}
        services = self._services
        logs = services.config.log_directory(meta.namespace(pod), meta.name(pod), meta.uid(pod))
        for status in services.cache.pod(meta.uid(pod)).containers.values():
            found[status.name] = found.get(status.name, DiskUsage()) + await services.images.root_usage(status.id)
        for name in found:
            found[name] += await asyncio.to_thread(disk.usage, f"{logs}/{name}")
        return found

    async def _broken_limit(self, pod: meta.Object) -> str:
        """Return in which way a pod uses more disk than its volumes and containers may, empty when it does not."""
        volumes = _limited_volumes(pod)
        limits = {c["name"]: _of(c, "limits", STORAGE) for _, c in podspec.every_container(pod)}
        if not volumes and not any(limits.values()):
            return ""
        total = 0
        for name, limit in volumes.items():
            size = (await self._volume(pod, name)).size
            total += size
            if size > quantity.parse(limit).whole():
                return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
        if not any(limits.values()):
            return ""
        found = await self._storage(pod)
        for name, used in found.items():
            if limits.get(name) and used.size > quantity.parse(limits[name]).whole():
                return f'Container {name} exceeded its local ephemeral storage limit "{limits[name]}". '
        if all(limits.values()):
            for volume in pod["spec"].get("volumes") or ():
                if volume["name"] not in volumes and _is_on_disk(volume):
                    total += (await self._volume(pod, volume["name"])).size
            whole = sum(quantity.parse(limit).whole() for limit in limits.values())
            if total + sum(used.size for used in found.values()) > whole:
                shown = next(iter(limits.values())) if len(limits) == 1 else str(whole)
                return f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
        return ""

    async def _volume(self, pod: meta.Object, name: str) -> DiskUsage:
        directory = self._services.config.pod_directory(meta.uid(pod))
        return await asyncio.to_thread(disk.usage, f"{directory}/volumes/kubernetes.io~empty-dir/{name}")


def _is_on_disk(volume: Mapping[str, Any]) -> bool:
    return "emptyDir" in volume and not (volume["emptyDir"] or {}).get("medium")


def _limited_volumes(pod: meta.Object) -> dict[str, str]:
    found = {}
    for volume in pod["spec"].get("volumes") or ():
        source: Mapping[str, Any] = volume.get("emptyDir") or {}
        limit = source.get("sizeLimit")
        if limit and quantity.parse(limit).whole() and not source.get("medium"):
            found[volume["name"]] = str(limit)
    return found


def _of(container: podspec.Container, kind: str, name: str) -> str:
    return str(((container.get("resources") or {}).get(kind) or {}).get(name) or "")


def _amount(pod: meta.Object, container: str, kind: str, name: str) -> int:
    found = podspec.find_container(pod, container) or {}
    values = (found.get("resources") or {}).get(kind) or {}
    return resources.memory(values) if name == "memory" else quantity.parse(values.get(name) or "0").whole()
