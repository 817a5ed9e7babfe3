"""Eviction: pods that end because the node runs short of something, or because they use more disk than they may.

The rules are those of kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction: while memory, disk or
process ids are short, one pod at a time goes, first of those that use more than they asked for, the least important
first, then the one furthest above its request. Critical pods stay. Unused images go before any pod does.
"""

import asyncio
import logging
import os
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
from wherry.util import clock

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
        for pod in pods:
            if message := await self._broken_limit(pod):
                self._evict(pod, message, 1.0)
                return
        await self._status.measure()
        shortage = self._status.shortage()
        if shortage is None or self._waits():
            return
        self._status.warn("EvictionThresholdMet", f"Attempting to reclaim {shortage.resource}")
        if shortage.resource in (STORAGE, INODES) and await self._collector.collect(everything=True):
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
            # Who filled the disk with files most likely filled it with bytes too: inodes are not counted by pod.
            found = await self._storage(pod)
            shares = [Usage(name, used, _amount(pod, name, "requests", STORAGE)) for name, used in found.items()]
            volumes = [v["name"] for v in pod["spec"].get("volumes") or () if _is_on_disk(v)]
            return [*shares, Usage("", sum([await self._volume_size(pod, name) for name in volumes]), 0)]
        result = []
        for status in self._services.cache.pod(meta.uid(pod)).running():
            stats = await self._services.runtime.stats(status.id)
            if stats is not None and resource == MEMORY:
                asked = _amount(pod, status.name, "requests", "memory")
                result.append(Usage(status.name, stats.memory_working_set, asked))
            elif stats is not None:
                result.append(Usage(status.name, stats.pids, 0))
        return result

    async def _storage(self, pod: meta.Object) -> dict[str, int]:
        """Return the bytes that each container of a pod has written to its root and its logs."""
        found: dict[str, int] = {}
        services = self._services
        logs = services.config.log_directory(meta.namespace(pod), meta.name(pod), meta.uid(pod))
        for status in services.cache.pod(meta.uid(pod)).containers.values():
            found[status.name] = found.get(status.name, 0) + await services.images.root_usage(status.id)
        for name in found:
            found[name] += await asyncio.to_thread(tree_size, f"{logs}/{name}")
        return found

    async def _broken_limit(self, pod: meta.Object) -> str:
        """Return in which way a pod uses more disk than its volumes and containers may, empty when it does not."""
        volumes = _limited_volumes(pod)
        limits = {c["name"]: _of(c, "limits", STORAGE) for _, c in podspec.every_container(pod)}
        if not volumes and not any(limits.values()):
            return ""
        total = 0
        for name, limit in volumes.items():
            size = await self._volume_size(pod, name)
            total += size
            if size > quantity.parse(limit).whole():
                return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
        if not any(limits.values()):
            return ""
        found = await self._storage(pod)
        for name, used in found.items():
            if limits.get(name) and used > quantity.parse(limits[name]).whole():
                return f'Container {name} exceeded its local ephemeral storage limit "{limits[name]}". '
        if all(limits.values()):
            for volume in pod["spec"].get("volumes") or ():
                if volume["name"] not in volumes and _is_on_disk(volume):
                    total += await self._volume_size(pod, volume["name"])
            whole = sum(quantity.parse(limit).whole() for limit in limits.values())
            if total + sum(found.values()) > whole:
                shown = next(iter(limits.values())) if len(limits) == 1 else str(whole)
                return f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
        return ""

    async def _volume_size(self, pod: meta.Object, name: str) -> int:
        directory = self._services.config.pod_directory(meta.uid(pod))
        return await asyncio.to_thread(tree_size, f"{directory}/volumes/kubernetes.io~empty-dir/{name}")


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


def tree_size(path: str) -> int:
    """Return the bytes on disk below `path`, in its own filesystem. Blocks."""
    try:
        device = os.lstat(path).st_dev
    except FileNotFoundError:
        return 0
    total = 0
    for directory, names, files in os.walk(path):
        for name in files:
            try:
                found = os.lstat(f"{directory}/{name}")
            except FileNotFoundError:
                continue
            total += found.st_blocks * 512
        names[:] = [n for n in names if _same_device(f"{directory}/{n}", device)]
    return total


def _same_device(path: str, device: int) -> bool:
    try:
        return os.lstat(path).st_dev == device
    except FileNotFoundError:
        return False
