"""cgroups by their files: one group or, under version 1, the same path in every controller's hierarchy.

A path is absolute as in ``/wherry/NAME/burstable/podUID``. A hybrid host counts as version 1. Everything here blocks
briefly; call it off the loop.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator

from wherry.runtime.protocol import Resources, Stats

ROOT = "/sys/fs/cgroup"
_CPU_PERIOD = 100_000


class Cgroups:
    """The cgroup tree of this machine. `v2` tells the version."""

    def __init__(self, root: str = ROOT) -> None:
        self.root = root
        self.v2 = os.path.exists(f"{root}/cgroup.controllers")

    def _hierarchies(self) -> list[str]:
        if self.v2:
            return [self.root]
        with os.scandir(self.root) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]

    def _directory(self, controller: str, path: str) -> str:
        return f"{self.root}{path}" if self.v2 else f"{self.root}/{controller}{path}"

    def make(self, path: str, resources: Resources) -> None:
        """Make the group `path` with its parents and set the limits that `resources` has."""
        for hierarchy in self._hierarchies():
            if self.v2 or os.path.exists(f"{hierarchy}/cgroup.procs"):
                self._make_directories(hierarchy, path)
        self.limit(path, resources)

    def _make_directories(self, hierarchy: str, path: str) -> None:
        if not self.v2 and not hierarchy.endswith("/cpuset"):
            os.makedirs(f"{hierarchy}{path}", exist_ok=True)
            return
        current = hierarchy
        for name in path.strip("/").split("/"):
            if self.v2:
                self._enable_controllers(current)
            parent, current = current, f"{current}/{name}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(current)
            if hierarchy.endswith("/cpuset"):
                # Version 1 makes a cpuset empty, and no process may enter an empty one.
                for file in ("cpuset.cpus", "cpuset.mems"):
                    if not _read(f"{current}/{file}"):
                        _write(f"{current}/{file}", _read(f"{parent}/{file}"))

    def _enable_controllers(self, directory: str) -> None:
        enabled = _read(f"{directory}/cgroup.subtree_control").split()
        for controller in _read(f"{directory}/cgroup.controllers").split():
            if controller not in enabled:
                # One by one: a controller that cannot be had (realtime tasks hold cpu) must not cost the others.
                with contextlib.suppress(OSError):
                    _write(f"{directory}/cgroup.subtree_control", f"+{controller}")

    def hasten(self) -> None:
        """Have the kernel wait now for the grace period that a process's next move to another group needs.

        Whoever moves one while this runs, or soon after it, does not wait for a grace period of his own. It is done by
        moving this process to where it is.
        """
        with contextlib.suppress(OSError), open("/proc/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if self.v2 or controllers == "pids":
                    _write(f"{self._directory(controllers, path)}/cgroup.procs", str(os.getpid()))
                    return

    def limit(self, path: str, resources: Resources) -> None:
        """Write the limits that `resources` has to the group `path`; a limit that is None stays as it is.

        Raises OSError when the kernel refuses one.
        """
        for controller, file, value in _limits_v2(resources) if self.v2 else _limits_v1(resources):
            name = f"{self._directory(controller, path)}/{file}"
            if os.path.exists(name):
                _write(name, value)

    def stats(self, path: str) -> Stats | None:
        """Return the counters of the group `path`, None when it is gone."""
        try:
            if self.v2:
                cpu = _fields(f"{self.root}{path}/cpu.stat").get("usage_usec", 0) * 1000
                used, inactive = self._number("memory", path, "memory.current"), "inactive_file"
            else:
                cpu = self._number("cpuacct", path, "cpuacct.usage")
                used, inactive = self._number("memory", path, "memory.usage_in_bytes"), "total_inactive_file"
            cache = _fields(f"{self._directory('memory', path)}/memory.stat").get(inactive, 0)
            return Stats(cpu, used, max(used - cache, 0), self._number("pids", path, "pids.current"))
        except FileNotFoundError:
            return None

    def _number(self, controller: str, path: str, file: str) -> int:
        with open(f"{self._directory(controller, path)}/{file}") as handle:
            return int(handle.read())

    def oom_kills(self, path: str) -> int:
        """Return how many processes the kernel killed in the group `path` because of its memory limit."""
        file = "memory.events" if self.v2 else "memory.oom_control"
        try:
            return _fields(f"{self._directory('memory', path)}/{file}").get("oom_kill", 0)
        except OSError:
            return 0

    def processes(self, path: str) -> list[int]:
        """Return the ids of the processes in the group `path` and the groups below it."""
        top = self._directory("pids", path)
        return [
            int(pid) for directory in _walk(top) for pid in _read(f"{directory}/cgroup.procs").split() if pid != "0"
        ]

    def kill(self, path: str) -> bool:
        """Send SIGKILL to every process of the group `path`; return whether there was one."""
        pids = self.processes(path)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pids)

    def remove(self, path: str, *, parents_below: str | None = None) -> None:
        """Remove the group `path` and the groups below it where they hold no process.

        Then its parents while they are empty, up to but not including `parents_below`.
        """
        for hierarchy in self._hierarchies():
            if not os.path.exists(f"{hierarchy}/cgroup.procs"):
                shutil.rmtree(f"{hierarchy}{path}", ignore_errors=True)  # the unmounted part of a hybrid host
            for directory in _walk(f"{hierarchy}{path}"):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
            if parents_below is None:
                continue
            parent = os.path.dirname(path)
            while parent.startswith(f"{parents_below.rstrip('/')}/"):
                try:
                    os.rmdir(f"{hierarchy}{parent}")
                except OSError:
                    break
                parent = os.path.dirname(parent)


def _limits_v1(resources: Resources) -> Iterator[tuple[str, str, str]]:
    if resources.cpu_shares is not None:
        yield "cpu", "cpu.shares", str(resources.cpu_shares)
    if resources.cpu_period is not None:
        yield "cpu", "cpu.cfs_period_us", str(resources.cpu_period)
    if resources.cpu_quota is not None:
        yield "cpu", "cpu.cfs_quota_us", str(resources.cpu_quota)
    if resources.cpuset_cpus:
        yield "cpuset", "cpuset.cpus", resources.cpuset_cpus
    if resources.memory_limit is not None:
        yield "memory", "memory.limit_in_bytes", str(resources.memory_limit)
    if resources.pids_limit is not None:
        yield "pids", "pids.max", _or_max(resources.pids_limit)
    for size, limit in resources.hugepage_limits.items():
        yield "hugetlb", f"hugetlb.{size}.limit_in_bytes", str(limit)


def _limits_v2(resources: Resources) -> Iterator[tuple[str, str, str]]:
    if resources.cpu_shares is not None:
        yield "cpu", "cpu.weight", str(weight(resources.cpu_shares))
    if resources.cpu_quota is not None:
        yield "cpu", "cpu.max", f"{_or_max(resources.cpu_quota)} {resources.cpu_period or _CPU_PERIOD}"
    if resources.cpuset_cpus:
        yield "cpuset", "cpuset.cpus", resources.cpuset_cpus
    if resources.memory_limit is not None:
        yield "memory", "memory.max", _or_max(resources.memory_limit)
    if resources.pids_limit is not None:
        yield "pids", "pids.max", _or_max(resources.pids_limit)
    for size, limit in resources.hugepage_limits.items():
        yield "hugetlb", f"hugetlb.{size}.max", str(limit)


def _or_max(limit: int) -> str:
    return str(limit) if limit > 0 else "max"


def weight(shares: int) -> int:
    """Convert CPU shares (2 to 262144) to the weight of cgroup v2 (1 to 10000), linearly as runtimes do."""
    return 1 + (min(max(shares, 2), 262_144) - 2) * 9_999 // 262_142


def _walk(top: str) -> list[str]:
    """Return the directories from the leaves up to `top`, nothing when there is none."""
    return [directory for directory, _, _ in os.walk(top, topdown=False)] if os.path.isdir(top) else []


def _fields(path: str) -> dict[str, int]:
    with open(path) as file:
        return {name: int(value) for name, value in (line.split() for line in file)}


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _write(path: str, value: str) -> None:
    with open(path, "w") as file:
        file.write(value)
