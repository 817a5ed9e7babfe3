"""The weights of the groups that pods lie in."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wherry.kubelet import cgroups
from wherry.runtime.cgroups import Cgroups

_GROUPS = ("wherry", "wherry/c", "wherry/c/besteffort", "wherry/c/burstable")


@pytest.mark.parametrize(("milli", "shares"), [(1000, "2598"), (2000, "2598"), (8000, "8192")])
def test_pods_together_weigh_as_much_as_the_node_has_cpu_and_no_less_than_others(
    tmp_path: Path, milli: int, shares: str
) -> None:
    for group in ("", *_GROUPS):
        directory = tmp_path / "cpu" / group
        directory.mkdir()
        (directory / "cgroup.procs").touch()
        (directory / "cpu.shares").write_text("1024")
    config: Any = SimpleNamespace(cgroup_root="/wherry/c")
    cgroups.make_classes(config, Cgroups(str(tmp_path)), milli_cpu=milli)
    found = [(tmp_path / "cpu" / group / "cpu.shares").read_text() for group in _GROUPS]
    assert found == [shares, shares, "2", "1024"]
