"""The two background processes of a cluster: start, find, stop.

A process holds a lock on its pid file for as long as it lives, so a stale file or a reused pid is never taken for it.
It reports its steps to whoever started it over a pipe (``WHERRY_READY_FD``), one line each, and closes the pipe when it
serves.
"""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wherry.cluster import config as configs
from wherry.cluster.config import BYTECODE_CACHE, ClusterError, Paths
from wherry.util import clock

SERVER, NODE = "server", "node"
READY_VARIABLE = "WHERRY_READY_FD"


@dataclass(frozen=True, slots=True)
class Running:
    """A process that lives: `memory` is its proportional set size in bytes, that of its helpers included, `started`
    seconds since the epoch."""

    name: str
    pid: int
    memory: int
    started: float


class Started:
    """A process that was just started and has not said yet that it serves."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", reports: BinaryIO, log: Path) -> None:
        self.name = name
        self._process = process
        self._reports = reports
        self._log = log

    def wait_ready(self, timeout: float) -> None:
        """Wait until the process serves. Raises ClusterError with its last words when it ended or `timeout` passed."""
        deadline = clock.monotonic() + timeout
        heard = b""
        while True:
            remaining = deadline - clock.monotonic()
            if remaining <= 0 or not select.select([self._reports], [], [], remaining)[0]:
                raise ClusterError(f"the {self.name} process did not come up in {timeout:.0f} s; see {self._log}")
            data = os.read(self._reports.fileno(), 4096)
            heard += data
            if heard.endswith(b"ready\n"):
                self._reports.close()
                return
            if not data:
                raise ClusterError(self._last_words())

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        said = lines[-1] if lines else "it said nothing"
        return f"the {self.name} process ended at once: {said} (log: {self._log})"


def start(name: str, paths: Paths, arguments: list[str]) -> Started:
    """Start ``python -m wherry.cluster.run NAME`` in a session of its own, logging to the cluster's log folder."""
    paths.run.mkdir(parents=True, exist_ok=True)
    paths.logs.mkdir(parents=True, exist_ok=True)
    log = paths.log_file(name)
    _rotate(log)
    reader, writer = os.pipe()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "wherry.cluster.run", name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=paths.run,  # conmon notes an out-of-memory kill in its working directory
            pass_fds=[writer],
            env={**_environment(), READY_VARIABLE: str(writer)},
        )
    os.close(writer)
    return Started(name, process, os.fdopen(reader, "rb", buffering=0), log)


def _environment() -> dict[str, str]:
    """Return this environment, with a place for bytecode where Python is told to leave none in the source tree.

    Compiling all that the processes import takes three times as long as the rest of their start.
    """
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", "") and "PYTHONPYCACHEPREFIX" not in environment:
        environment["PYTHONPYCACHEPREFIX"] = str(BYTECODE_CACHE)
    return environment


def hold(name: str, paths: Paths) -> None:
    """Take the pid file of this process and keep it until it ends. Raises ClusterError when another one lives."""
    paths.run.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(paths.pid_file(name), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ClusterError(f"the {name} process of cluster {paths.name!r} is running already") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())


def report_ready() -> None:
    """Tell whoever started this process that it serves; nothing happens when nobody asked."""
    descriptor = os.environ.pop(READY_VARIABLE, None)
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.write(int(descriptor), b"ready\n")
            os.close(int(descriptor))


def find(name: str, paths: Paths) -> Running | None:
    """Return the process if it lives."""
    pid = _locked_pid(paths.pid_file(name))
    if pid is None:
        return None
    try:
        return Running(name, pid, sum(map(_memory, [pid, *_helpers(pid)])), Path(f"/proc/{pid}").stat().st_mtime)
    except (FileNotFoundError, ProcessLookupError):
        return None


def stop(name: str, paths: Paths, timeout: float = 10.0) -> bool:
    """End the process: SIGTERM, after `timeout` seconds SIGKILL. Tell whether there was one."""
    pid = _locked_pid(paths.pid_file(name))
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
                signal.pidfd_send_signal(descriptor, number)
                if select.select([descriptor], [], [], patience)[0]:
                    break
        finally:
            os.close(descriptor)
    return True


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Let one command at a time make, start, stop or remove clusters of this machine; another one waits."""
    configs.RUN_ROOT.mkdir(parents=True, exist_ok=True)
    with (configs.RUN_ROOT / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _locked_pid(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


def _helpers(pid: int) -> list[int]:
    """Return the children of a process that run the same program: the one that commits for the server."""
    program = os.readlink(f"/proc/{pid}/exe")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = []
    for child in children:
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/{child}/exe") == program:
                found.append(int(child))
    return found


def _memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def _rotate(log: Path, limit: int = 10 << 20) -> None:
    if log.exists() and log.stat().st_size > limit:
        os.replace(log, log.with_suffix(".log.1"))
