"""The ``process_*`` metrics of this process, as Prometheus' client libraries have them."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from wherry.util.metrics import COUNTER, GAUGE, Family, Sample

FAMILIES = {
    "process_cpu_seconds_total": Family(COUNTER, "Total user and system CPU time spent in seconds."),
    "process_max_fds": Family(GAUGE, "Maximum number of open file descriptors."),
    "process_open_fds": Family(GAUGE, "Number of open file descriptors."),
    "process_resident_memory_bytes": Family(GAUGE, "Resident memory size in bytes."),
    "process_start_time_seconds": Family(GAUGE, "Start time of the process since unix epoch in seconds."),
    "process_virtual_memory_bytes": Family(GAUGE, "Virtual memory size in bytes."),
    "process_virtual_memory_max_bytes": Family(GAUGE, "Maximum amount of virtual memory available in bytes."),
}


def samples() -> Iterator[Sample]:
    """Yield what the kernel says about this process now."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGESIZE")
    yield Sample("process_cpu_seconds_total", {}, (int(fields[11]) + int(fields[12])) / tick)
    yield Sample("process_max_fds", {}, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield Sample("process_open_fds", {}, len(os.listdir("/proc/self/fd")))
    yield Sample("process_resident_memory_bytes", {}, int(fields[21]) * page)
    yield Sample("process_start_time_seconds", {}, _boot_time() + int(fields[19]) / tick)
    yield Sample("process_virtual_memory_bytes", {}, int(fields[20]))
    yield Sample("process_virtual_memory_max_bytes", {}, resource.getrlimit(resource.RLIMIT_AS)[0] & 0xFFFFFFFFFFFFFFFF)


def _boot_time() -> int:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))
