"""What this test session made and has not removed: processes, mounts, links, nftables tables, cgroups, directories.

Only what carries the session's name `RUN` counts, so that other clusters and test sessions on the machine do not:
clusters, networks and cgroups of tests have it in their names, processes in their environment.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from wherry.cluster import config
from wherry.network.routed import RoutedNetwork

_VARIABLE = "WHERRY_TEST_RUN"
RUN = os.environ.setdefault(_VARIABLE, f"e2e-{os.getpid()}")
"""The name of this test session; a test's subprocess has the name of its session."""

CLUSTER = RUN
NETWORK = f"{RUN}-net"


def left(directory: Path) -> list[str]:
    """Return what is there of this session; `directory` is where pytest made its temporary directories."""
    return sorted([*_processes(), *_mounts(directory), *_links(), *_tables(), *_cgroups(), *_state()])


def _processes() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*"):
        if entry.name != str(os.getpid()):
            command, environment, cgroup = (_words(entry / name) for name in ("cmdline", "environ", "cgroup"))
            if RUN in command or f"{_VARIABLE}={RUN} " in environment or RUN in cgroup:
                yield f"process {entry.name} {command[:120]}"


def _words(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _mounts(directory: Path) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if RUN in point or point.startswith(f"{directory}/"):
            yield f"mount {point}"


def _links() -> Iterator[str]:
    prefixes = tuple(RoutedNetwork(name, "10.0.0.0/24", "/nonexistent").prefix for name in (CLUSTER, NETWORK))
    yield from (f"link {name}" for name in os.listdir("/sys/class/net") if name.startswith(prefixes))


def _tables() -> Iterator[str]:
    try:
        listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return
    yield from (f"nftables {line}" for line in listed.splitlines() if RUN in line)


def _cgroups() -> Iterator[str]:
    yield from (f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/*{RUN}*"))


def _state() -> Iterator[str]:
    for root in (config.STATE_ROOT, config.RUN_ROOT, config.LOG_ROOT):
        yield from (f"directory {path}" for path in root.glob(f"{RUN}*"))
