"""conmon: the process that stands over each container, keeps its terminal and streams, its log and its exit code.

It belongs to nobody once started, so containers and their logs go on without the node process. In the bundle it leaves
``attach`` (a socket for the streams), ``ctl`` (a fifo for orders) and the pid files.
"""

import asyncio
import json
import os
import socket
from typing import Any

from wherry.runtime import processes, spawn, streams
from wherry.runtime.protocol import ContainerError
from wherry.runtime.records import ContainerRecord

ATTACH_STDOUT, ATTACH_STDERR = 2, 3
"""The first byte of each packet that the attach socket sends; what it receives is standard input as it is."""

_RESIZE, _REOPEN_LOG = 1, 2


async def launch(record: ContainerRecord, *, bundle: str, exit_dir: str, runtime: list[str]) -> None:
    """Start conmon, which creates the container with the command `runtime` (crun and its global options).

    Fills the process ids of `record`. Raises ContainerError with what the runtime said.
    """
    args = ["conmon", "--cid", record.id, "--cuuid", record.id, "--name", record.name, "--bundle", bundle]
    args += ["--runtime", runtime[0], *(f"--runtime-arg={option}" for option in runtime[1:])]
    args += ["--container-pidfile", f"{bundle}/pid", "--conmon-pidfile", f"{bundle}/conmon.pid"]
    args += ["--exit-dir", exit_dir, "--log-path", f"k8s-file:{record.log_path or '/dev/null'}", "--no-sync-log"]
    args += ["--full-attach", "--log-level", "error"]
    if record.tty:
        args.append("--terminal")
    if record.stdin:
        args.append("--stdin")
        if not record.stdin_once:
            args.append("--leave-stdin-open")
    reading, writing = os.pipe()
    try:
        process = spawn.start(args, descriptors={3: writing}, _OCI_SYNCPIPE="3")
    except OSError as error:
        os.close(reading)
        raise ContainerError(f"cannot run conmon: {error.strerror}") from error
    finally:
        os.close(writing)
    answer = await _read_answer(reading)
    await process.wait()
    pid = answer.get("pid", -1)
    if not isinstance(pid, int) or pid <= 0:
        raise ContainerError(plain(str(answer.get("message") or "")) or "container creation failed")
    record.pid, record.pid_start = pid, processes.start_ticks(pid)
    record.conmon_pid = processes.read_pid(f"{bundle}/conmon.pid")
    record.conmon_start = processes.start_ticks(record.conmon_pid)


async def _read_answer(descriptor: int) -> dict[str, Any]:
    """Read the one line that conmon sends when the container is made or is not; {} when it died without one."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    line = b""
    try:
        while not line.endswith(b"\n"):
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(descriptor, streams.resolve, readable)
            try:
                await readable
            finally:
                loop.remove_reader(descriptor)
            if not (part := os.read(descriptor, 1 << 16)):
                break
            line += part
    finally:
        os.close(descriptor)
    try:
        return dict(json.loads(line))
    except ValueError:
        return {"message": line.decode(errors="replace")}


def plain(message: str) -> str:
    """Strip the time that crun puts before each line of its errors."""
    lines = []
    for line in message.strip().splitlines():
        first, _, rest = line.partition(": ")
        lines.append(rest if first[:4].isdigit() and first.endswith("Z") else line)
    return "; ".join(lines)


def connect(bundle: str) -> socket.socket:
    """Connect to the streams of a container. Raises OSError when its conmon is gone."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    directory = os.open(bundle, os.O_PATH | os.O_CLOEXEC)
    try:
        # Through the descriptor, because the path of a socket may have 107 bytes only.
        connection.connect(f"/proc/self/fd/{directory}/attach")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def resize(bundle: str, width: int, height: int) -> None:
    """Give the container's terminal a size in characters. Raises OSError when its conmon is gone."""
    _order(bundle, f"{_RESIZE} {height} {width}\n")


def reopen_log(bundle: str) -> None:
    """Have conmon open its log file anew. Raises OSError when it is gone."""
    _order(bundle, f"{_REOPEN_LOG} 0 0\n")


def _order(bundle: str, line: str) -> None:
    descriptor = os.open(f"{bundle}/ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
