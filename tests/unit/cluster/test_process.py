"""Pid files, locks and readiness."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wherry.cluster import config as configs
from wherry.cluster import process
from wherry.cluster.config import ClusterError, Paths

HOLD = """
import sys
from pathlib import Path
from wherry.cluster import config, process
config.RUN_ROOT = Path(sys.argv[1])
process.hold("server", config.Paths("c"))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setattr(configs, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(configs, "LOG_ROOT", tmp_path / "log")
    return Paths("c")


def test_a_process_is_found_as_long_as_it_lives(paths: Paths, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    found = process.find("server", paths)
    assert found is not None
    assert found.pid == holder.pid
    assert found.memory > 0
    assert process.stop("server", paths)
    holder.communicate()
    assert process.find("server", paths) is None
    assert not process.stop("server", paths)


def test_a_stale_pid_file_names_nobody(paths: Paths) -> None:
    paths.run.mkdir(parents=True)
    paths.pid_file("server").write_text(f"{os.getpid()}\n")
    assert process.find("server", paths) is None


def test_a_process_that_ends_at_once_is_reported_with_its_last_words(paths: Paths) -> None:
    started = process.start("config", paths, [])
    with pytest.raises(ClusterError, match="ended at once"):
        started.wait_ready(10)
