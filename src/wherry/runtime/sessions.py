"""Exec and attach as `wherry.runtime.protocol.Session`."""

import array
import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
import termios
from collections.abc import Mapping
from typing import Any

from wherry.runtime import conmon, spawn, streams
from wherry.runtime.protocol import ContainerError, ExecResult, Session

_MOST_OUTPUT = 16 << 20

_RUNTIME_FAILED = 255
"""What crun exits with when it cannot run a process, and a process may as well; only crun writes to its log."""

_PACKET = 8192
"""conmon reads standard input from the attach socket in pieces of this size and drops what is longer."""


class ExecSession:
    """A process that ``crun exec`` runs in a container; crun passes its exit code on.

    The session ends it: `close` kills the process unless it has ended. `errors` is a file for what the runtime says
    when it cannot run the process.
    """

    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader | None

    def __init__(
        self,
        process: spawn.Process,
        *,
        outputs: list[int],
        stdin: int | None,
        terminal: bool,
        errors: int | None = None,
    ) -> None:
        self._process = process
        self._errors = errors
        self._stdin = stdin
        self._terminal = terminal
        self.stdout, pump = streams.read_pipe(outputs[0])
        self._pumps = [pump]
        self.stderr = None
        if len(outputs) > 1:
            self.stderr, pump = streams.read_pipe(outputs[1])
            self._pumps.append(pump)
        if stdin is not None:
            os.set_blocking(stdin, False)

    async def write_stdin(self, data: bytes) -> None:
        """Send bytes to the process; nothing happens when it does not read any more."""
        if self._stdin is None:
            return
        try:
            await streams.write(self._stdin, data)
        except OSError:
            self._drop_stdin()

    async def close_stdin(self) -> None:
        """End the process's standard input. A terminal has no end; it gets the end-of-file character."""
        if self._terminal:
            await self.write_stdin(b"\x04")
        else:
            self._drop_stdin()

    def _drop_stdin(self) -> None:
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    async def resize(self, width: int, height: int) -> None:
        """Give the terminal a size in characters; nothing happens without one."""
        if self._terminal and self._stdin is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._stdin, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def wait(self) -> int:
        """Return the exit code. The streams end with the process, even where a process that it left holds them.

        Raises ContainerError when the process could not be run.
        """
        code = await self._process.wait()
        for pump in self._pumps:
            pump.drain()
        if code == _RUNTIME_FAILED and self._errors is not None and (said := os.pread(self._errors, 1 << 14, 0)):
            raise ContainerError(conmon.plain(said.decode(errors="replace")))
        return code

    async def close(self) -> None:
        """Kill the process unless it has ended, and close the streams."""
        self._process.kill_through()
        await self._process.wait()
        for pump in self._pumps:
            pump.close()
        self._drop_stdin()
        if self._errors is not None:
            os.close(self._errors)
            self._errors = None


class AttachSession:
    """The streams of a container's own process, through its conmon; closing it leaves the container alone."""

    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader | None

    def __init__(self, bundle: str, *, terminal: bool, stdin: bool) -> None:
        """Connect. Raises ContainerError when the container's conmon is gone."""
        try:
            connection = conmon.connect(bundle)
        except OSError as error:
            raise ContainerError(f"cannot attach: {error.strerror}") from error
        self._bundle = bundle
        self._stdin = stdin
        # A second descriptor for writing: the event loop allows one callback a direction and descriptor.
        self._socket = connection.dup()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pump = streams.Pump(connection.detach(), self._deliver, self._end)
        self.stdout = self._pump.reader()
        self.stderr = None if terminal else self._pump.reader()

    def _deliver(self, packet: bytes) -> None:
        if packet[0] == conmon.ATTACH_STDERR and self.stderr is not None:
            self.stderr.feed_data(packet[1:])
        else:
            self.stdout.feed_data(packet[1:])

    def _end(self) -> None:
        self.stdout.feed_eof()
        if self.stderr is not None:
            self.stderr.feed_eof()
        if not self._ended.done():
            self._ended.set_result(None)

    async def write_stdin(self, data: bytes) -> None:
        """Send bytes to the container; nothing happens when it has no standard input or does not read any more."""
        if not self._stdin:
            return
        try:
            for start in range(0, len(data), _PACKET):
                await streams.write(self._socket.fileno(), data[start : start + _PACKET])
        except OSError:
            self._stdin = False

    async def close_stdin(self) -> None:
        """Tell conmon that nothing more comes; the container sees it if it was made with `stdin_once`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._stdin = False

    async def resize(self, width: int, height: int) -> None:
        """Give the container's terminal a size in characters."""
        with contextlib.suppress(OSError):
            conmon.resize(self._bundle, width, height)

    async def wait(self) -> int:
        """Return 0 when the container ended or the streams were closed."""
        await asyncio.shield(self._ended)
        return 0

    async def close(self) -> None:
        """Close the streams."""
        self._pump.close()
        self._socket.close()


async def run_in_container(
    runtime: list[str], container_id: str, process: Mapping[str, object], *, stdin: bool, tty: bool, run_dir: str
) -> ExecSession:
    """Start an OCI process in a container with the command `runtime` (crun and its global options).

    `run_dir` is where the socket of a terminal lies for a moment. Raises ContainerError.
    """
    described = os.memfd_create("process", os.MFD_CLOEXEC)
    try:
        os.write(described, json.dumps(dict(process)).encode())
        order = ["exec", "--process", "/proc/self/fd/3"]
        if tty:
            return await _with_terminal([*runtime, *order], container_id, described, run_dir)
        return _with_pipes([*runtime, "--log=/proc/self/fd/4", *order, container_id], described, stdin=stdin)
    finally:
        os.close(described)


def _with_pipes(args: list[str], described: int, *, stdin: bool) -> ExecSession:
    pipes = [os.pipe() for _ in range(3 if stdin else 2)]
    errors = os.memfd_create("errors", os.MFD_CLOEXEC)
    descriptors = {1: pipes[0][1], 2: pipes[1][1], 3: described, 4: errors}
    if stdin:
        descriptors[0] = pipes[2][0]
    try:
        process = spawn.start(args, descriptors=descriptors)
    except OSError:
        os.close(errors)
        for ends in pipes:
            os.close(ends[0])
            os.close(ends[1])
        raise
    os.close(pipes[0][1])
    os.close(pipes[1][1])
    if stdin:
        os.close(pipes[2][0])
    given = pipes[2][1] if stdin else None
    return ExecSession(process, outputs=[pipes[0][0], pipes[1][0]], stdin=given, terminal=False, errors=errors)


async def _with_terminal(args: list[str], container_id: str, described: int, run_dir: str) -> ExecSession:
    path = f"{run_dir}/tty-{os.getpid()}-{described}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    errors = os.memfd_create("errors", os.MFD_CLOEXEC)
    try:
        listener.bind(path)
        listener.listen(1)
        process = spawn.start(
            [*args, "--tty", "--console-socket", path, container_id], descriptors={1: errors, 2: errors, 3: described}
        )
        _order(process.pid, os.SCHED_FIFO, 1)
        master = await _receive_terminal(listener, process)
        _order(process.pid, os.SCHED_OTHER, 0)
        if master is None:
            await process.wait()
            raise ContainerError(os.pread(errors, 1 << 14, 0).decode(errors="replace").strip() or "exec failed")
    finally:
        os.close(errors)
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return ExecSession(process, outputs=[os.dup(master)], stdin=master, terminal=True)


def _order(pid: int, policy: int, priority: int) -> None:
    """Have the runtime run before what it starts, or again as any other: its children do not inherit the order.

    It gives a terminal its size when the command's process exists already, which must not look before.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


async def _receive_terminal(listener: socket.socket, process: spawn.Process) -> int | None:
    """Return the terminal's descriptor that the runtime sends, None when it ended without."""
    if not await _readable(listener, process):
        return None
    connection, _ = listener.accept()
    with connection:
        if not await _readable(connection, process):
            return None
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return array.array("i", data[:4])[0]
    return None


async def _readable(connection: socket.socket, process: spawn.Process) -> bool:
    """Wait until something comes (true) or the process has ended."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    came: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection.fileno(), streams.resolve, came)
    try:
        either: list[asyncio.Future[Any]] = [came, process.future]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(connection.fileno())
    return came.done()


async def collect(session: Session, timeout: float | None) -> ExecResult:
    """Run a session to its end and return what it wrote, up to 16 MiB a stream; the rest is read and dropped.

    Raises TimeoutError after `timeout` seconds, ContainerError. The session is closed in any case.
    """
    failure: ContainerError | None = None
    code = 0
    stdout, stderr = bytearray(), bytearray()
    try:
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
            group.create_task(_keep(session.stdout, stdout))
            if session.stderr is not None:
                group.create_task(_keep(session.stderr, stderr))
            try:
                code = await session.wait()
            except ContainerError as error:  # which a group of tasks would wrap
                failure = error
        if failure is not None:
            raise failure
        return ExecResult(code, bytes(stdout), bytes(stderr))
    finally:
        await session.close()


async def _keep(stream: asyncio.StreamReader, kept: bytearray) -> None:
    while data := await stream.read(streams.CHUNK):
        kept += data[: max(_MOST_OUTPUT - len(kept), 0)]
