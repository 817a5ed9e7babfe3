"""Child processes by posix_spawn and pidfd: quick to start whatever this process's size, and waited for by event."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wherry.runtime import processes
from wherry.runtime.defaults import DEFAULT_PATH

_INHERITED = ("PATH", "LANG", "XDG_RUNTIME_DIR")


def environment(**more: str) -> dict[str, str]:
    """Return what the runtime's helpers get of this process's environment, and `more`."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PATH": DEFAULT_PATH} | env | more


@dataclass(frozen=True, slots=True)
class Completed:
    """A process that ended: `code` as a shell gives it (128 + n after signal n), and what it wrote."""

    code: int
    output: bytes

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace").strip()


class Process:
    """A child of this process. It is reaped when it ends, also when nobody waits for it.

    `future` gets its exit code; await it shielded.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.future: asyncio.Future[int] = loop.create_future()
        self._descriptor = os.pidfd_open(pid)
        loop.add_reader(self._descriptor, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.future.set_result(code if code >= 0 else 128 - code)

    @property
    def ended(self) -> bool:
        return self.future.done()

    async def wait(self) -> int:
        """Return the exit code, 128 + n after signal n. Cancelling this leaves the process alone."""
        return await asyncio.shield(self.future)

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if not self.ended:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill_through(self) -> None:
        """Kill the direct children of a helper that ends when its child does; the helper itself if it has none yet.

        Stopped first, it can reap none of them: their ids stay theirs until the signal is sent. Going on, it reaps
        them, which the init of a container might not.
        """
        if self.ended:
            return
        self.signal(signal.SIGSTOP)
        found = processes.children(self.pid)
        for child in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.signal(signal.SIGCONT if found else signal.SIGKILL)


def start(args: Sequence[str], *, descriptors: Mapping[int, int] | None = None, **env: str) -> Process:
    """Start a program. `descriptors` maps the child's descriptor to one of this process; 0 to 2 default to /dev/null.

    Nothing else is inherited. Raises FileNotFoundError when there is no such program.
    """
    wanted = dict(descriptors or {})
    missing = [number for number in range(3) if number not in wanted]
    # Above every target, so that one action cannot overwrite the source of a later one.
    base = max(wanted, default=2) + 1
    copies: list[int] = []
    try:
        sources = {}
        for target, source in wanted.items():
            copy = _duplicate_above(source, base)
            copies.append(copy)
            sources[target] = copy
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in missing
        ]
        actions += [(os.POSIX_SPAWN_DUP2, source, target) for target, source in sources.items()]
        pid = os.posix_spawnp(args[0], list(args), environment(**env), file_actions=actions, setsigmask=())
    finally:
        for copy in copies:
            os.close(copy)
    return Process(pid)


def _duplicate_above(descriptor: int, base: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, base)


async def run(args: Sequence[str], *, stdin: bytes = b"") -> Completed:
    """Run a program to its end and return its code with its standard output and error, which must be small.

    Cancelling kills it.
    """
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    descriptors = {1: output, 2: output}
    given = -1
    try:
        if stdin:
            given = os.memfd_create("input", os.MFD_CLOEXEC)
            os.write(given, stdin)
            os.lseek(given, 0, os.SEEK_SET)
            descriptors[0] = given
        process = start(args, descriptors=descriptors)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.signal(signal.SIGKILL)
            raise
        return Completed(code, os.pread(output, 1 << 16, 0))
    finally:
        os.close(output)
        if given >= 0:
            os.close(given)
