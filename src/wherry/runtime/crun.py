"""`wherry.runtime.protocol.Runtime` by crun and conmon.

What exists is on disk (`wherry.runtime.records`), so a new process finds every sandbox and container, and what ended
while no process ran. Creating a container only records it; starting it runs conmon and crun between two records, and a
process that finds the first without the second cleans up. Ends come by event: each running container's conmon is
watched by a pidfd, and conmon ends when it has written the log and the exit code.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from wherry.runtime import conmon, processes, recovery, sessions, spawn, spec, userns
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.events import Events
from wherry.runtime.protocol import (
    CREATED,
    EXITED,
    NOT_READY,
    RUNNING,
    ContainerConfig,
    ContainerError,
    ContainerStatus,
    ExecResult,
    Resources,
    RuntimeEvent,
    SandboxConfig,
    SandboxStatus,
    Session,
    Stats,
    UserNamespace,
)
from wherry.runtime.records import STARTING, ContainerRecord, Records, SandboxRecord, write_json
from wherry.runtime.sandboxes import Sandboxes
from wherry.runtime.sealed import SealedProgram
from wherry.runtime.seccomp import CompiledProfiles
from wherry.util import clock, linux
from wherry.util.tasks import Scope

T = TypeVar("T")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_KILL_PATIENCE = 30.0
"""Seconds until a killed process that does not end (in a hung disk or NFS) makes stopping fail."""


@dataclass(slots=True, eq=False)
class _Container:
    record: ContainerRecord
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    watch: processes.Watch | None = None
    seccomp: Mapping[str, object] | None = None


class CrunRuntime:
    """The default runtime. One process at a time uses a state directory; `start` fails where another one does.

    `state_dir` outlives a reboot, `run_dir` need not. `cgroup_root` is the group (``/wherry/NAME``) that everything
    goes below and that `destroy` removes.
    """

    def __init__(self, *, state_dir: str, run_dir: str, cgroup_root: str) -> None:
        self._records = Records(state_dir)
        self._state_dir = state_dir
        self._run_dir = run_dir
        self._cgroup_root = cgroup_root
        self._cgroups = Cgroups()
        self._host = spec.Host()
        self._filters = CompiledProfiles()
        self._boot = ""
        self._program: SealedProgram | None = None
        self._runtime = ["crun", f"--root={run_dir}/crun", "--cgroup-manager=cgroupfs"]
        self._containers: dict[str, _Container] = {}
        self._sandboxes = Sandboxes(
            self._records,
            run_dir=run_dir,
            cgroup_root=cgroup_root,
            cgroups=self._cgroups,
            runtime=self._runtime,
            on_lost=self._sandbox_lost,
        )
        self._events = Events()
        self._scope: Scope | None = None
        self._starting = asyncio.Lock()
        self._hastened: asyncio.Task[None] | None = None
        self._lock_descriptor = -1

    # Life of the runtime

    async def start(self) -> None:
        """Adopt what an earlier process left. Raises ContainerError when crun or conmon is missing or another process
        uses the state directory."""
        if self._scope is not None:
            return
        async with self._starting:
            if self._scope is None:
                await asyncio.to_thread(self._prepare)
                await self._adopt()
                scope = Scope()
                await scope.__aenter__()
                self._scope = scope
                for container in list(self._containers.values()):
                    self._watch(container)
                for record in list(self._sandboxes.known.values()):
                    self._sandboxes.watch(record)

    def _prepare(self) -> None:
        for program in ("crun", "conmon"):
            if shutil.which(program, path=spawn.environment()["PATH"]) is None:
                raise ContainerError(f"{program} is not installed")
        self._records.make_directories()
        self._lock_descriptor = os.open(f"{self._state_dir}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock_descriptor)
            raise ContainerError(f"another process uses {self._state_dir}") from None
        program = shutil.which("crun", path=spawn.environment()["PATH"]) or "crun"
        self._program = SealedProgram(program, f"{self._run_dir}/bin")
        self._runtime[0] = self._program.path
        for directory in ("crun", "sandboxes", "exec"):
            os.makedirs(f"{self._run_dir}/{directory}", mode=0o711, exist_ok=True)
        recovery.raise_descriptor_limit()
        self._host = spec.Host.detect(self._cgroups)
        self._boot = linux.boot_id()

    async def _adopt(self) -> None:
        # Whatever crun does now, it does for a process that is gone: an exec, or a container half made.
        await asyncio.to_thread(processes.kill_all, "crun", self._runtime[1])
        await self._sandboxes.adopt(self._boot)
        for record in await asyncio.to_thread(lambda: list(self._records.load_containers())):
            container = self._containers[record.id] = _Container(record)
            if record.state != EXITED:
                await recovery.settle(
                    record,
                    records=self._records,
                    cgroups=self._cgroups,
                    runtime=self._runtime,
                    run_dir=self._run_dir,
                    boot=self._boot,
                )
            if record.state == EXITED:
                container.exited.set()

    async def close(self) -> None:
        """Stop watching; containers run on."""
        if self._scope is None:
            return
        scope, self._scope = self._scope, None
        for container in self._containers.values():
            if container.watch is not None:
                container.watch.close()
        await scope.__aexit__(None, None, None)
        self._events.end()
        self._containers.clear()
        self._sandboxes.close()
        if self._program is not None:
            self._program.close()
        os.close(self._lock_descriptor)

    async def destroy(self) -> None:
        """Stop and remove everything that this runtime made, on disk too, and close it (``wherry delete``)."""
        await self.start()
        for sandbox_id in list(self._sandboxes.known):
            await self.remove_sandbox(sandbox_id)
        for container_id in list(self._containers):
            await self.remove_container(container_id)
        await self.close()
        await asyncio.to_thread(self._cgroups.remove, self._cgroup_root, parents_below="/")
        for directory in (f"{self._run_dir}/{name}" for name in ("bin", "crun", "sandboxes", "exec", "pause")):
            await asyncio.to_thread(shutil.rmtree, directory, True)
        await asyncio.to_thread(shutil.rmtree, self._state_dir, True)

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` so that cancelling the caller does not stop it half way."""
        if self._scope is None:
            work.close()
            raise ContainerError("the runtime is closed")
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._scope.spawn(_settle(work, outcome))
        return await asyncio.shield(outcome)

    async def version(self) -> str:
        """Return for example ``crun://1.8.1``."""
        shown = await spawn.run([self._runtime[0], "--version"])
        return f"crun://{shown.text.split()[2] if shown.code == 0 else 'unknown'}"

    # Sandboxes

    @property
    def user_namespaces(self) -> bool:
        """Whether pods can be in a user namespace of their own on this machine."""
        return userns.supported()

    async def make_user_namespace(self, sandbox_id: str, host_id: int) -> UserNamespace:
        """Make the user namespace of a sandbox that is to run. Raises ContainerError."""
        await self.start()
        _check_id(sandbox_id)
        async with self._sandboxes.lock(sandbox_id):
            return await self._sandboxes.make_user_namespace(sandbox_id, host_id)

    async def run_sandbox(self, config: SandboxConfig) -> None:
        """Make the namespaces, the cgroup and with a shared process namespace its init. Raises ContainerError."""
        await self.start()
        await self._to_the_end(self._run_sandbox(config))

    async def _run_sandbox(self, config: SandboxConfig) -> None:
        _check_id(config.id)
        async with self._sandboxes.lock(config.id):
            await self._sandboxes.make(config)
        self._hasten()

    def _sandbox_lost(self, record: SandboxRecord) -> None:
        if self._scope is not None:
            self._scope.spawn(self._note_lost(record), name=f"end of {record.id}", guard=True)

    async def _note_lost(self, record: SandboxRecord) -> None:
        async with self._sandboxes.lock(record.id):
            if record.ready:
                await self._sandboxes.mark_stopped(record)
                self._events.emit(RuntimeEvent(record.id, "", NOT_READY))

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what still runs in it and release its namespaces (not the network namespace)."""
        await self.start()
        await self._to_the_end(self._stop_sandbox(sandbox_id))

    async def _stop_sandbox(self, sandbox_id: str) -> None:
        async with self._sandboxes.lock(sandbox_id):
            record = self._sandboxes.known.get(sandbox_id)
            if record is None:
                await self._sandboxes.drop(sandbox_id)
                return
            await self._sandboxes.mark_stopped(record)
            async with asyncio.TaskGroup() as group:
                for container in self._containers_of(sandbox_id):
                    group.create_task(self.stop_container(container.record.id, 0))
            await self._sandboxes.release(record)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Stop it and forget it with its containers and its cgroup."""
        await self.start()
        await self._to_the_end(self._remove_sandbox(sandbox_id))

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        await self._stop_sandbox(sandbox_id)
        async with asyncio.TaskGroup() as group:
            for container in self._containers_of(sandbox_id):
                group.create_task(self._remove_container(container))
        async with self._sandboxes.lock(sandbox_id):
            if (record := self._sandboxes.known.get(sandbox_id)) is not None:
                await self._sandboxes.forget(record)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        """Return every sandbox that was not removed."""
        await self.start()
        return [record.status() for record in self._sandboxes.known.values()]

    def _containers_of(self, sandbox_id: str) -> list[_Container]:
        return [each for each in self._containers.values() if each.record.sandbox_id == sandbox_id]

    # Containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> None:
        """Record a container; nothing runs yet. Raises ContainerError(CreateContainerError)."""
        await self.start()
        _check_id(config.id)
        record = self._sandboxes.known.get(sandbox_id)
        if record is None or not record.ready or not self._sandboxes.has_init(record):
            raise ContainerError(f"sandbox {sandbox_id} is not ready", reason="CreateContainerError")
        if config.id in self._containers:
            return
        self._hasten()
        container = _Container(self._describe(record, config))
        self._containers[config.id] = container
        try:
            await asyncio.to_thread(self._write_container, container, config, record)
        except BaseException as error:
            del self._containers[config.id]
            self._records.forget_container(config.id)
            if isinstance(error, OSError):
                message = f"cannot create container {config.name}: {error}"
                raise ContainerError(message, reason="CreateContainerError") from error
            raise
        self._emit(container)

    def _hasten(self) -> None:
        """Have the kernel ready for the move of a container's first process, which crun would else wait for."""
        if self._scope is not None and (self._hastened is None or self._hastened.done()):
            self._hastened = self._scope.spawn(asyncio.to_thread(self._cgroups.hasten), guard=True)

    def _describe(self, record: SandboxRecord, config: ContainerConfig) -> ContainerRecord:
        return ContainerRecord(
            id=config.id,
            sandbox_id=record.id,
            name=config.name,
            labels=dict(config.labels),
            log_path=config.log_path,
            cgroup=f"{record.config['cgroup_parent'] or self._cgroup_root}/{config.id}",
            stop_signal=config.stop_signal,
            tty=config.tty,
            stdin=config.stdin,
            stdin_once=config.stdin_once,
            shares_processes=bool(
                record.config["host_pid"] or record.config["share_process_namespace"] or config.processes_of
            ),
            created_at=clock.seconds(),
            boot=self._boot,
        )

    def _write_container(self, container: _Container, config: ContainerConfig, parent: SandboxRecord) -> None:
        record = container.record
        files = self._sandboxes.files(parent)
        if config.processes_of:
            pid = self._get(config.processes_of).record.pid
            files = replace(files, namespaces={**files.namespaces, "pid": f"/proc/{pid}/ns/pid"})
        bundle = self._records.bundle(record.id)
        os.makedirs(bundle, mode=0o700, exist_ok=True)
        container.seccomp = spec.seccomp_profile(config, self._host)
        annotations = self._filters.annotations(container.seccomp)
        described = spec.build(config, files, cgroup=record.cgroup, host=self._host, annotations=annotations)
        write_json(f"{bundle}/config.json", described)
        if config.log_path:
            os.makedirs(os.path.dirname(config.log_path), exist_ok=True)
        self._records.save(record)

    async def start_container(self, container_id: str) -> None:
        """Run it. Raises ContainerError(RunContainerError); it has then exited with code 128 and reason StartError."""
        await self.start()
        await self._to_the_end(self._start_container(self._get(container_id)))

    async def _start_container(self, container: _Container) -> None:
        record = container.record
        async with container.lock:
            if record.state == RUNNING:
                return
            if record.state != CREATED:
                raise ContainerError(f"container {record.name} has ended and cannot be started again")
            # Not written down: that a conmon has this bundle tells a new process as much.
            record.state = STARTING
            bundle = self._records.bundle(record.id)
            try:
                await conmon.launch(record, bundle=bundle, exit_dir=self._records.exits, runtime=self._runtime)
                started = await spawn.run([*self._runtime, "start", record.id])
                if started.code != 0:
                    raise ContainerError(conmon.plain(started.text))
            except (ContainerError, OSError) as error:
                await recovery.scrap(record, records=self._records, runtime=self._runtime)
                record.finish(code=128, at=clock.seconds(), reason="StartError", message=str(error))
                await asyncio.to_thread(self._records.note, record)
                container.exited.set()
                self._emit(container)
                raise ContainerError(str(error)) from error
            record.state, record.started_at = RUNNING, clock.seconds()
            await asyncio.to_thread(self._note_started, container)
            self._emit(container)
            self._watch(container)

    def _note_started(self, container: _Container) -> None:
        record = container.record
        self._records.note(record)
        if container.seccomp:
            self._filters.learn(container.seccomp, f"{self._run_dir}/crun/{record.id}/seccomp.bpf")

    def _watch(self, container: _Container) -> None:
        record = container.record
        if record.state != RUNNING:
            return
        descriptor = processes.open_pid(record.conmon_pid, record.conmon_start)
        if descriptor is None:
            self._conmon_ended(container)
        else:
            container.watch = processes.Watch(descriptor, lambda: self._conmon_ended(container))

    def _conmon_ended(self, container: _Container) -> None:
        if self._scope is not None:
            self._scope.spawn(self._finish(container), name=f"exit of {container.record.name}", guard=True)

    async def _finish(self, container: _Container) -> None:
        container.watch = None
        record = container.record
        await asyncio.to_thread(recovery.finish, record, records=self._records, cgroups=self._cgroups)
        await asyncio.to_thread(self._records.note, record)
        container.exited.set()
        self._emit(container)

    def _get(self, container_id: str) -> _Container:
        container = self._containers.get(container_id)
        if container is None:
            raise ContainerError(f"container {container_id} not found")
        return container

    async def stop_container(self, container_id: str, timeout: float) -> None:
        """Send the stop signal, after `timeout` seconds SIGKILL; return when it has exited."""
        await self.start()
        container = self._containers.get(container_id)
        if container is None:
            return
        async with container.lock:  # one that is about to run is let run first
            record = container.record
        if record.state != RUNNING:
            return
        if timeout > 0:
            number = signal_number(record.stop_signal)
            await asyncio.to_thread(processes.send_signal, record.pid, record.pid_start, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await container.exited.wait()
        if not container.exited.is_set():
            await asyncio.to_thread(processes.send_signal, record.pid, record.pid_start, signal.SIGKILL)
            try:
                async with asyncio.timeout(_KILL_PATIENCE):
                    await container.exited.wait()
            except TimeoutError:
                raise ContainerError(f"container {record.name} does not end though killed") from None

    async def remove_container(self, container_id: str) -> None:
        """Forget a container, killing it when it runs; its log files stay."""
        await self.start()
        if (container := self._containers.get(container_id)) is not None:
            await self._to_the_end(self._remove_container(container))

    async def _remove_container(self, container: _Container) -> None:
        record = container.record
        await self.stop_container(record.id, 0)
        async with container.lock:
            if record.state != CREATED and record.boot == self._boot:
                await spawn.run([*self._runtime, "delete", "--force", record.id])
            await asyncio.to_thread(self._cgroups.remove, record.cgroup)
            await asyncio.to_thread(self._records.forget_container, record.id)
            self._containers.pop(record.id, None)

    async def list_containers(self) -> list[ContainerStatus]:
        """Return every container that was not removed."""
        await self.start()
        return [container.record.status() for container in self._containers.values()]

    async def container_status(self, container_id: str) -> ContainerStatus | None:
        """Return the state of one container, None when there is none."""
        await self.start()
        container = self._containers.get(container_id)
        return container.record.status() if container else None

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Change the limits of a container, also of one that does not run yet. Raises ContainerError."""
        await self.start()
        container = self._get(container_id)
        limits = spec.resources(resources, self._host)
        async with container.lock:
            if container.record.state == RUNNING:
                done = await spawn.run(
                    [*self._runtime, "update", "--resources", "/proc/self/fd/0", container_id],
                    stdin=json.dumps(limits).encode(),
                )
                if done.code != 0 and container.record.state == RUNNING:
                    raise ContainerError(f"cannot update container: {conmon.plain(done.text)}")
            elif container.record.state == CREATED:
                await asyncio.to_thread(self._rewrite_limits, container_id, limits)

    def _rewrite_limits(self, container_id: str, limits: dict[str, Any]) -> None:
        path = f"{self._records.bundle(container_id)}/config.json"
        with open(path) as file:
            described = json.load(file)
        described["linux"]["resources"] |= limits
        write_json(path, described)

    # Streams

    async def exec_sync(self, container_id: str, args: Sequence[str], timeout: float | None) -> ExecResult:
        """Run a command and return its output. Raises TimeoutError, and kills the command, after `timeout` seconds."""
        return await sessions.collect(await self.exec(container_id, args, stdin=False, tty=False), timeout)

    async def exec(self, container_id: str, args: Sequence[str], *, stdin: bool, tty: bool) -> Session:
        """Start a command with the container's user, environment and rights. Raises ContainerError."""
        await self.start()
        self._get_running(container_id)
        self._hasten()
        process = await asyncio.to_thread(self._exec_process, container_id, args, tty)
        run_dir = f"{self._run_dir}/exec"
        return await sessions.run_in_container(
            self._runtime, container_id, process, stdin=stdin, tty=tty, run_dir=run_dir
        )

    def _exec_process(self, container_id: str, args: Sequence[str], tty: bool) -> dict[str, Any]:
        with open(f"{self._records.bundle(container_id)}/config.json") as file:
            process: dict[str, Any] = json.load(file)["process"]
        env = [tuple(each.split("=", 1)) for each in process["env"]]
        return process | {"args": list(args), "terminal": tty, "env": spec.environment(env, tty=tty)}

    async def attach(self, container_id: str) -> Session:
        """Connect to the streams of a running container. Raises ContainerError."""
        await self.start()
        record = self._get_running(container_id)
        return sessions.AttachSession(self._records.bundle(container_id), terminal=record.tty, stdin=record.stdin)

    def _get_running(self, container_id: str) -> ContainerRecord:
        record = self._get(container_id).record
        if record.state != RUNNING:
            raise ContainerError(f"container {record.name} is not running")
        return record

    async def reopen_log(self, container_id: str) -> None:
        """Open the log file anew after a rotation; nothing happens when the container has ended."""
        await self.start()
        if self._get(container_id).record.state == RUNNING:
            with contextlib.suppress(OSError):
                conmon.reopen_log(self._records.bundle(container_id))

    # Measures

    async def stats(self, container_id: str) -> Stats | None:
        """Return the counters of a container's cgroup, None when it does not run."""
        await self.start()
        container = self._containers.get(container_id)
        if container is None or container.record.state != RUNNING:
            return None
        return await asyncio.to_thread(self._cgroups.stats, container.record.cgroup)

    async def sandbox_stats(self, sandbox_id: str) -> Stats | None:
        """Return the counters of a sandbox's `cgroup_parent`; None when it has none."""
        await self.start()
        record = self._sandboxes.known.get(sandbox_id)
        if record is None or not record.config["cgroup_parent"]:
            return None
        return await asyncio.to_thread(self._cgroups.stats, record.config["cgroup_parent"])

    async def set_cgroup_limits(self, path: str, resources: Resources) -> None:
        """Make the cgroup `path` where it is missing and set its limits. Raises ContainerError."""
        try:
            await asyncio.to_thread(self._cgroups.make, path, resources)
        except OSError as error:
            raise ContainerError(f"cannot set the limits of {path}: {error}") from error

    # Events

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Iterate over state changes from now on, also of containers started by an earlier process."""
        return self._events.subscribe()

    def _emit(self, container: _Container) -> None:
        record = container.record
        self._events.emit(RuntimeEvent(record.sandbox_id, record.id, record.state))


async def _settle(work: Coroutine[Any, Any, T], outcome: asyncio.Future[T]) -> None:
    try:
        outcome.set_result(await work)
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    except Exception as error:
        outcome.set_exception(error)


def _check_id(name: str) -> None:
    if not _ID.fullmatch(name):
        raise ContainerError(f"invalid id {name!r}", reason="CreateContainerError")


def signal_number(name: str) -> int:
    """Return the number of a signal given as ``SIGTERM``, ``TERM``, ``15`` or ``SIGRTMIN+3``; SIGTERM when unknown."""
    if name.isdigit():
        return int(name)
    base, _, offset = name.upper().removeprefix("SIG").partition("+")
    number = getattr(signal, f"SIG{base}", signal.SIGTERM)
    return int(number) + (int(offset) if offset.isdigit() else 0)
