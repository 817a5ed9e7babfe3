"""What an end-to-end test may not leave behind: processes, mounts, namespaces, links, nftables tables, cgroups."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_OURS = ("wherry", "conmon", "crun")


def _processes() -> set[str]:
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                command = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if any(word in command for word in _OURS) and "pytest" not in command:
                found.add(f"process {entry.name} {command[:120]}")
    return found


def _mounts() -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {f"mount {line.split()[4]}" for line in lines}


def _network() -> set[str]:
    links = {f"link {name}" for name in os.listdir("/sys/class/net")}
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout.splitlines()
    return links | {f"nftables {table}" for table in tables}


def _cgroups() -> set[str]:
    return {f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob("**/wherry*")}


def _belongings() -> set[str]:
    return _processes() | _mounts() | _network() | _cgroups()


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Compare the machine after the last end-to-end test with the machine before the first."""
    before = _belongings()
    yield
    left = sorted(_belongings() - before)
    assert not left, "left behind:\n" + "\n".join(left)
