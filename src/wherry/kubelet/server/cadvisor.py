"""``/metrics/cadvisor``: what the kernel counts of the node, of each pod and of each container, under cAdvisor's names.

Each sample has the labels that queries use: ``container``, ``id`` (the cgroup), ``image``, ``name`` (the container's
id), ``namespace`` and ``pod``; of a pod as a whole ``container``, ``image`` and ``name`` are empty, of the node all.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from wherry.api import meta
from wherry.kubelet import labels, podspec
from wherry.kubelet.cgroups import pod_cgroup
from wherry.kubelet.services import NodeServices
from wherry.runtime import counters
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.counters import Counters
from wherry.runtime.protocol import ContainerStatus
from wherry.util import clock, metrics
from wherry.util.metrics import COUNTER, GAUGE, Family, Sample

Labels = dict[str, str]

_NETWORK = ("bytes", "packets", "errors", "packets_dropped")
_COLUMNS = {"receive": (0, 1, 2, 3), "transmit": (8, 9, 10, 11)}

FAMILIES = {
    "cadvisor_version_info": Family(GAUGE, "The kernel that is measured and who measures it, in labels."),
    "container_cpu_cfs_periods_total": Family(COUNTER, "Number of elapsed enforcement period intervals."),
    "container_cpu_cfs_throttled_periods_total": Family(COUNTER, "Number of throttled period intervals."),
    "container_cpu_cfs_throttled_seconds_total": Family(COUNTER, "Time for which the container was throttled."),
    "container_cpu_system_seconds_total": Family(COUNTER, "Cumulative system CPU time consumed in seconds."),
    "container_cpu_usage_seconds_total": Family(COUNTER, "Cumulative CPU time consumed in seconds."),
    "container_cpu_user_seconds_total": Family(COUNTER, "Cumulative user CPU time consumed in seconds."),
    "container_fs_limit_bytes": Family(GAUGE, "Bytes that can be consumed on this filesystem."),
    "container_fs_reads_bytes_total": Family(COUNTER, "Cumulative bytes read."),
    "container_fs_usage_bytes": Family(GAUGE, "Bytes consumed on this filesystem."),
    "container_fs_writes_bytes_total": Family(COUNTER, "Cumulative bytes written."),
    "container_last_seen": Family(GAUGE, "When the container was last seen."),
    "container_memory_cache": Family(GAUGE, "Bytes of page cache memory."),
    "container_memory_failcnt": Family(COUNTER, "Number of times the memory limit was hit."),
    "container_memory_failures_total": Family(COUNTER, "Page faults by kind."),
    "container_memory_mapped_file": Family(GAUGE, "Bytes of memory mapped files."),
    "container_memory_max_usage_bytes": Family(GAUGE, "Highest memory usage in bytes."),
    "container_memory_rss": Family(GAUGE, "Bytes of anonymous memory."),
    "container_memory_swap": Family(GAUGE, "Bytes of swap used."),
    "container_memory_usage_bytes": Family(GAUGE, "Memory usage in bytes, with all of the page cache."),
    "container_memory_working_set_bytes": Family(GAUGE, "Memory in bytes that could not be taken back easily."),
    "container_network_receive_bytes_total": Family(COUNTER, "Cumulative bytes received."),
    "container_network_receive_errors_total": Family(COUNTER, "Cumulative errors while receiving."),
    "container_network_receive_packets_dropped_total": Family(COUNTER, "Cumulative packets dropped while receiving."),
    "container_network_receive_packets_total": Family(COUNTER, "Cumulative packets received."),
    "container_network_transmit_bytes_total": Family(COUNTER, "Cumulative bytes sent."),
    "container_network_transmit_errors_total": Family(COUNTER, "Cumulative errors while sending."),
    "container_network_transmit_packets_dropped_total": Family(COUNTER, "Cumulative packets dropped while sending."),
    "container_network_transmit_packets_total": Family(COUNTER, "Cumulative packets sent."),
    "container_oom_events_total": Family(COUNTER, "Processes killed for want of memory."),
    "container_processes": Family(GAUGE, "Number of processes and threads."),
    "container_scrape_error": Family(GAUGE, "1 if there was an error while getting container metrics, 0 otherwise."),
    "container_spec_cpu_period": Family(GAUGE, "CPU period of the container in microseconds."),
    "container_spec_cpu_quota": Family(GAUGE, "CPU quota of the container in microseconds."),
    "container_spec_cpu_shares": Family(GAUGE, "CPU shares of the container."),
    "container_spec_memory_limit_bytes": Family(GAUGE, "Memory limit of the container, 0 for none."),
    "container_start_time_seconds": Family(GAUGE, "Start time of the container since unix epoch in seconds."),
    "machine_cpu_cores": Family(GAUGE, "Number of logical CPU cores."),
    "machine_memory_bytes": Family(GAUGE, "Bytes of memory of the machine."),
}


async def text(pods: Sequence[meta.Object], services: NodeServices) -> str:
    """Return the whole page in the text format of Prometheus."""
    written = {c.id: (await services.images.root_usage(c.id)).size for c in _running(pods, services)}
    samples = await asyncio.to_thread(lambda: list(_samples(pods, services, written)))
    return metrics.text(samples, FAMILIES)


def _running(pods: Sequence[meta.Object], services: NodeServices) -> list[ContainerStatus]:
    return [c for pod in pods for c in services.cache.pod(meta.uid(pod)).running()]


def _samples(pods: Sequence[meta.Object], services: NodeServices, written: dict[str, int]) -> Iterator[Sample]:
    machine, config = services.machine, services.config
    yield Sample("cadvisor_version_info", {"kernelVersion": machine.kernel, "osVersion": machine.os_image}, 1)
    yield Sample("machine_cpu_cores", _machine(services), machine.processors)
    yield Sample("machine_memory_bytes", _machine(services), machine.memory)
    yield Sample("container_scrape_error", {}, 0)
    if services.cgroups is None:
        return
    disk, device = machine.disk(config.root), _device(config.root)
    node = _labels(id="/")
    yield from _of_group(services.cgroups, node, "/")
    yield Sample("container_fs_usage_bytes", {**node, "device": device}, disk.total - disk.available)
    yield Sample("container_fs_limit_bytes", {**node, "device": device}, disk.total)
    for pod in pods:
        whole = _labels(id=pod_cgroup(pod, config), namespace=meta.namespace(pod), pod=meta.name(pod))
        yield from _of_group(services.cgroups, whole, whole["id"])
        running = services.cache.pod(meta.uid(pod)).running()
        if running and not podspec.host_network(pod):
            yield from _of_network(whole, running[0].pid)
        for container in running:
            own = {
                **whole,
                "container": container.name,
                "id": f"{whole['id']}/{container.id}",
                "image": container.labels.get(labels.IMAGE) or "",
                "name": container.id,
            }
            yield from _of_group(services.cgroups, own, own["id"])
            yield Sample("container_start_time_seconds", own, container.started_at)
            yield Sample("container_fs_usage_bytes", {**own, "device": device}, written.get(container.id, 0))
            yield Sample("container_fs_limit_bytes", {**own, "device": device}, disk.total)


def _labels(**given: str) -> Labels:
    return {"container": "", "id": "", "image": "", "name": "", "namespace": "", "pod": "", **given}


def _machine(services: NodeServices) -> Labels:
    machine = services.machine
    return {"boot_id": machine.boot_id, "machine_id": machine.machine_id, "system_uuid": machine.system_uuid}


def _of_group(cgroups: Cgroups, mark: Labels, path: str) -> Iterator[Sample]:
    found = counters.read(cgroups, path)
    if found is None:
        return
    for name, value in _values(found):
        yield Sample(f"container_{name}", mark, value)
    yield Sample("container_cpu_usage_seconds_total", {**mark, "cpu": "total"}, found.cpu / 1e9)
    yield Sample("container_last_seen", mark, int(clock.seconds()))
    for kind, count in (("pgfault", found.page_faults), ("pgmajfault", found.major_faults)):
        yield Sample("container_memory_failures_total", {**mark, "failure_type": kind, "scope": "container"}, count)
    if found.cpu_quota:
        yield Sample("container_spec_cpu_quota", mark, found.cpu_quota)
        yield Sample("container_cpu_cfs_periods_total", mark, found.periods)
        yield Sample("container_cpu_cfs_throttled_periods_total", mark, found.throttled_periods)
        yield Sample("container_cpu_cfs_throttled_seconds_total", mark, found.throttled_time / 1e9)


def _values(found: Counters) -> Iterator[tuple[str, float]]:
    yield "cpu_user_seconds_total", found.cpu_user / 1e9
    yield "cpu_system_seconds_total", found.cpu_system / 1e9
    yield "memory_usage_bytes", found.memory
    yield "memory_working_set_bytes", found.working_set
    yield "memory_max_usage_bytes", found.memory_peak
    yield "memory_rss", found.rss
    yield "memory_cache", found.cache
    yield "memory_mapped_file", found.mapped
    yield "memory_swap", found.swap
    yield "memory_failcnt", found.limit_hits
    yield "oom_events_total", found.oom_kills
    yield "processes", found.processes
    yield "fs_reads_bytes_total", found.io_read
    yield "fs_writes_bytes_total", found.io_write
    yield "spec_cpu_period", found.cpu_period
    yield "spec_cpu_shares", found.cpu_shares
    yield "spec_memory_limit_bytes", found.memory_limit


def _of_network(mark: Labels, pid: int) -> Iterator[Sample]:
    """Yield what passed the interfaces of the namespace that a process is in."""
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return
    for line in lines:
        interface, _, rest = line.partition(":")
        numbers = rest.split()
        if interface.strip() == "lo":
            continue
        for direction, columns in _COLUMNS.items():
            for what, column in zip(_NETWORK, columns, strict=True):
                name = f"container_network_{direction}_{what}_total"
                yield Sample(name, {**mark, "interface": interface.strip()}, int(numbers[column]))


def _device(path: Path) -> str:
    """Return the device of the filesystem that `path` is on."""
    best, device = "", ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        point = words[4].rstrip("/")
        if f"{path}/".startswith(f"{point}/") and len(point) >= len(best):
            best, device = point, words[words.index("-") + 2]
    return device
