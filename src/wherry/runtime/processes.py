"""Processes that are not children of this one: who they are, and whether an id still means the same one."""

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable


def start_ticks(pid: int) -> int:
    """Return when a process started in clock ticks since boot, 0 when there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def start_time(pid: int) -> float:
    """Return when a process started in seconds since the epoch, 0 when there is none."""
    ticks = start_ticks(pid)
    with open("/proc/stat") as file:
        booted = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    return booted + ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def open_pid(pid: int, started: int) -> int | None:
    """Return a pidfd of the process `pid` that started at the tick `started`, None when it is gone."""
    if not pid:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if start_ticks(pid) != started:
        os.close(descriptor)
        return None
    return descriptor


def send_signal(pid: int, started: int, number: int) -> bool:
    """Send a signal to a process unless it is gone; return whether it was there."""
    descriptor = open_pid(pid, started)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def kill(pid: int, started: int, *, patience: float) -> None:
    """Kill a process unless it is gone, and wait until it has ended, but not longer than `patience` seconds."""
    descriptor = open_pid(pid, started)
    if descriptor is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        _wait_readable(descriptor, patience)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def _wait_readable(descriptor: int, patience: float) -> None:
    poll = select.poll()  # select(2) takes no descriptor above 1023
    poll.register(descriptor, select.POLLIN)
    poll.poll(patience * 1000)


def find(program: str, argument: str) -> list[int]:
    """Return the processes of `program` (argv[0] or its last part) with `argument` as one of their arguments."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                args = file.read().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if os.path.basename(args[0]) == program.encode() and argument.encode() in args[1:]:
            found.append(int(name))
    return found


def kill_all(program: str, argument: str) -> None:
    """Kill the processes that `find` finds, and the direct children of each."""
    for pid in find(program, argument):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            for child in children(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Return the ids of the direct children of a process, none when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def read_pid(path: str) -> int:
    """Return what a pid file holds, 0 when there is none."""
    try:
        with open(path) as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return 0


class Watch:
    """Calls back once when a process ends. Owns the pidfd."""

    def __init__(self, descriptor: int, ended: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._fire)

    def _fire(self) -> None:
        self.close()
        self._ended()

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
