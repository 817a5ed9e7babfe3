"""Everything that the kernel counts of one cgroup, for metrics; `Cgroups.stats` reads the few that are asked for often.

All of this blocks briefly; call it off the loop.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from wherry.runtime.cgroups import Cgroups

_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Times in nanoseconds, memory and input/output in bytes; limits are 0 where there is none."""

    cpu: int
    cpu_user: int
    cpu_system: int
    periods: int
    throttled_periods: int
    throttled_time: int
    cpu_shares: int
    cpu_quota: int
    cpu_period: int
    memory: int
    working_set: int
    memory_peak: int
    memory_limit: int
    rss: int
    cache: int
    mapped: int
    swap: int
    page_faults: int
    major_faults: int
    limit_hits: int
    oom_kills: int
    processes: int
    io_read: int
    io_write: int


def read(cgroups: Cgroups, path: str) -> Counters | None:
    """Return the counters of the group `path`, None when it is gone; what a controller is missing for is 0."""
    directory = f"{cgroups.root}{path}" if cgroups.v2 else f"{cgroups.root}/memory{path}"
    if not os.path.isdir(directory):
        return None
    return _read_v2(directory) if cgroups.v2 else _read_v1(lambda controller: f"{cgroups.root}/{controller}{path}")


def _read_v2(directory: str) -> Counters:
    cpu, memory = _fields(f"{directory}/cpu.stat"), _fields(f"{directory}/memory.stat")
    events, used = _fields(f"{directory}/memory.events"), _number(f"{directory}/memory.current")
    quota, _, period = _text(f"{directory}/cpu.max").partition(" ")
    io = [_pairs(line) for line in _text(f"{directory}/io.stat").splitlines()]
    weight = _number(f"{directory}/cpu.weight")
    return Counters(
        cpu=cpu.get("usage_usec", 0) * 1000,
        cpu_user=cpu.get("user_usec", 0) * 1000,
        cpu_system=cpu.get("system_usec", 0) * 1000,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_time=cpu.get("throttled_usec", 0) * 1000,
        cpu_shares=2 + (weight - 1) * 262_142 // 9_999 if weight else 0,
        cpu_quota=int(quota) if quota.isdigit() else 0,
        cpu_period=int(period) if period.isdigit() else 0,
        memory=used,
        working_set=max(used - memory.get("inactive_file", 0), 0),
        memory_peak=_number(f"{directory}/memory.peak"),
        memory_limit=_limit(_number(f"{directory}/memory.max")),
        rss=memory.get("anon", 0),
        cache=memory.get("file", 0),
        mapped=memory.get("file_mapped", 0),
        swap=_number(f"{directory}/memory.swap.current"),
        page_faults=memory.get("pgfault", 0),
        major_faults=memory.get("pgmajfault", 0),
        limit_hits=events.get("max", 0),
        oom_kills=events.get("oom_kill", 0),
        processes=_number(f"{directory}/pids.current"),
        io_read=sum(entry.get("rbytes", 0) for entry in io),
        io_write=sum(entry.get("wbytes", 0) for entry in io),
    )


def _read_v1(at: Callable[[str], str]) -> Counters:
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    account, cpu = _fields(f"{at('cpuacct')}/cpuacct.stat"), _fields(f"{at('cpu')}/cpu.stat")
    memory, used = _fields(f"{at('memory')}/memory.stat"), _number(f"{at('memory')}/memory.usage_in_bytes")
    transfers = [line.split() for line in _text(f"{at('blkio')}/blkio.throttle.io_service_bytes").splitlines()]
    return Counters(
        cpu=_number(f"{at('cpuacct')}/cpuacct.usage"),
        cpu_user=account.get("user", 0) * tick,
        cpu_system=account.get("system", 0) * tick,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_time=cpu.get("throttled_time", 0),
        cpu_shares=_number(f"{at('cpu')}/cpu.shares"),
        cpu_quota=max(_number(f"{at('cpu')}/cpu.cfs_quota_us"), 0),
        cpu_period=_number(f"{at('cpu')}/cpu.cfs_period_us"),
        memory=used,
        working_set=max(used - memory.get("total_inactive_file", 0), 0),
        memory_peak=_number(f"{at('memory')}/memory.max_usage_in_bytes"),
        memory_limit=_limit(_number(f"{at('memory')}/memory.limit_in_bytes")),
        rss=memory.get("total_rss", 0),
        cache=memory.get("total_cache", 0),
        mapped=memory.get("total_mapped_file", 0),
        swap=memory.get("total_swap", 0),
        page_faults=memory.get("total_pgfault", 0),
        major_faults=memory.get("total_pgmajfault", 0),
        limit_hits=_number(f"{at('memory')}/memory.failcnt"),
        oom_kills=_fields(f"{at('memory')}/memory.oom_control").get("oom_kill", 0),
        processes=_number(f"{at('pids')}/pids.current"),
        io_read=sum(int(words[2]) for words in transfers if len(words) == 3 and words[1] == "Read"),
        io_write=sum(int(words[2]) for words in transfers if len(words) == 3 and words[1] == "Write"),
    )


def _limit(number: int) -> int:
    return 0 if number > _NO_LIMIT else number


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else 0


def _fields(path: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in _text(path).splitlines())}


def _pairs(line: str) -> dict[str, int]:
    parts = (word.partition("=") for word in line.split()[1:])
    return {name: int(value) for name, _, value in parts if value.isdigit()}
