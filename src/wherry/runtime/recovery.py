"""What becomes of a container when a process dies: its own, its conmon's or the node process."""

import asyncio
import contextlib
import json
import os
import resource
import shutil
from typing import Any

from wherry.runtime import processes, spawn
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.protocol import CREATED, RUNNING
from wherry.runtime.records import ContainerRecord, Records
from wherry.util import clock

UNKNOWN_CODE = 255
_PATIENCE = 2.0


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as it may have: each running container costs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def settle(
    record: ContainerRecord, *, records: Records, cgroups: Cgroups, runtime: list[str], root: str, boot: str
) -> None:
    """Bring the record of a container that may have been starting or running in line with the facts, and write it.

    It becomes running (its conmon is to be watched then, or has ended and is to be noticed), exited, or, when it was
    cut off before its program ran, created again.
    """
    if record.state == CREATED:
        bundle, directory = records.bundle(record.id), f"{root}/{record.id}"
        if record.boot != boot or not await asyncio.to_thread(_was_begun, bundle, directory):
            return
        await _settle_half_started(record, records=records, runtime=runtime, root=root)
    elif record.boot != boot:
        await asyncio.to_thread(finish, record, records=records, cgroups=cgroups)
    else:
        return
    await asyncio.to_thread(records.note, record)


def _was_begun(bundle: str, directory: str) -> bool:
    """Tell whether the start of a container had begun: its conmon left its id, or lives and has not come that far, or
    died before it did and crun knows the container."""
    traces = (f"{bundle}/conmon.pid", directory)
    return any(map(os.path.exists, traces)) or bool(processes.find("conmon", bundle))


async def _settle_half_started(record: ContainerRecord, *, records: Records, runtime: list[str], root: str) -> None:
    """Make a container whose program ran running, also when it has ended since: who watches its conmon sees that."""
    bundle = records.bundle(record.id)
    shown = await spawn.run([*runtime, "state", record.id])
    state = json.loads(shown.output) if shown.code == 0 else {}
    if not _program_ran(state, f"{root}/{record.id}"):
        await scrap(record, records=records, runtime=runtime, root=root)
        record.state = CREATED
        return
    record.state, record.pid = RUNNING, processes.read_pid(f"{bundle}/pid")
    record.pid_start = processes.start_ticks(record.pid)
    record.started_at = os.stat(f"{bundle}/pid").st_mtime
    record.conmon_pid = next(iter(await asyncio.to_thread(processes.find, "conmon", bundle)), 0)
    record.conmon_start = processes.start_ticks(record.conmon_pid)


def _program_ran(state: dict[str, Any], directory: str) -> bool:
    """Tell whether ``crun start`` let the program of a container run: it takes away the fifo that the program waits at.

    What crun calls stopped may never have run, so its state alone does not tell.
    """
    return state.get("status") in ("running", "paused", "stopped") and not os.path.exists(f"{directory}/exec.fifo")


async def scrap(record: ContainerRecord, *, records: Records, runtime: list[str], root: str) -> None:
    """Take away whatever a start that did not succeed left: conmon, crun, the container's process, the exit file."""
    bundle = records.bundle(record.id)
    for program in ("conmon", os.path.basename(runtime[0])):
        await asyncio.to_thread(processes.kill_all, program, bundle)
    await spawn.run([*runtime, "delete", "--force", record.id])
    # Of a container whose making was cut off before its status was written, crun deletes nothing, and makes none again.
    await asyncio.to_thread(shutil.rmtree, f"{root}/{record.id}", ignore_errors=True)
    for path in (f"{records.exits}/{record.id}", f"{bundle}/pid", f"{bundle}/conmon.pid", f"{bundle}/attach"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    record.pid = record.pid_start = record.conmon_pid = record.conmon_start = 0


def finish(record: ContainerRecord, *, records: Records, cgroups: Cgroups) -> None:
    """Make the record of a container whose conmon has ended exited. Blocks briefly.

    Without an exit code (conmon was killed, the machine went down) the container is killed and its code is 255.
    """
    ended = records.exit(record.id)
    if ended is None:
        processes.kill(record.pid, record.pid_start, patience=_PATIENCE)
    if record.shares_processes or ended is None:
        # With a process namespace of its own the kernel has killed the rest together with the first process.
        cgroups.kill(record.cgroup)
    if not record.started_at:
        record.started_at = record.created_at
    if ended is None:
        record.finish(code=UNKNOWN_CODE, at=clock.seconds(), reason="Unknown", message="ended while nobody watched")
    else:
        code, at = ended
        reason = "Completed" if code == 0 else "OOMKilled" if cgroups.oom_kills(record.cgroup) else "Error"
        record.finish(code=code, at=at, reason=reason)
    # By cgroup v1 the limit of what has ended would be the least that its pod can have.
    cgroups.remove(record.cgroup)
