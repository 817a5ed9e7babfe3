"""The containers of a runtime: recorded, started, watched, stopped and removed.

Creating a container only records it; starting it runs conmon and its handler's program between two records, and a
process that finds the first without the second cleans up. Ends come by event: each running container's conmon is
watched by a pidfd, and conmon ends when it has written the log and the exit code.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wherry.runtime import conmon, processes, recovery, spawn, spec
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.handlers import Handlers
from wherry.runtime.protocol import CREATED, EXITED, RUNNING, ContainerConfig, ContainerError, Resources
from wherry.runtime.records import STARTING, ContainerRecord, Records, SandboxRecord, write_json
from wherry.runtime.sandboxes import Sandboxes
from wherry.runtime.seccomp import CompiledProfiles
from wherry.util import clock

_KILL_PATIENCE = 30.0
"""Seconds until a killed process that does not end (in a hung disk or NFS) makes stopping fail."""

Spawn = Callable[[Coroutine[Any, Any, None], str], None]


@dataclass(slots=True, eq=False)
class Container:
    """A record and what this process has of the container beside it."""

    record: ContainerRecord
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    watch: processes.Watch | None = None
    seccomp: Mapping[str, object] | None = None


class Containers:
    """Makes and ends containers. `known` has them by id; `emit` tells that the state of one has changed, `spawn` runs
    what is to be done when one ends."""

    def __init__(
        self,
        records: Records,
        sandboxes: Sandboxes,
        handlers: Handlers,
        *,
        cgroups: Cgroups,
        cgroup_root: str,
        emit: Callable[[Container], None],
        spawn: Spawn,
    ) -> None:
        self.known: dict[str, Container] = {}
        self._records = records
        self._sandboxes = sandboxes
        self._handlers = handlers
        self._cgroups = cgroups
        self._cgroup_root = cgroup_root
        self._emit = emit
        self._spawn = spawn
        self._host = spec.Host()
        self._filters = CompiledProfiles()
        self._boot = ""

    async def adopt(self, boot: str) -> None:
        """Read what an earlier process left and bring it in line with the facts. `boot` is the present boot."""
        self._boot = boot
        self._host = await asyncio.to_thread(spec.Host.detect, self._cgroups)
        for record in await asyncio.to_thread(lambda: list(self._records.load_containers())):
            container = self.known[record.id] = Container(record)
            if record.state != EXITED:
                await recovery.settle(
                    record,
                    records=self._records,
                    cgroups=self._cgroups,
                    runtime=self._handlers.command(record.handler),
                    root=self._handlers.root(record.handler),
                    boot=boot,
                )
            if record.state == EXITED:
                container.exited.set()

    def stop_watching(self) -> None:
        """Hear no more of the ends of containers."""
        for container in self.known.values():
            if container.watch is not None:
                container.watch.close()

    def of(self, sandbox_id: str) -> list[Container]:
        """Return the containers of a sandbox."""
        return [each for each in self.known.values() if each.record.sandbox_id == sandbox_id]

    def get(self, container_id: str) -> Container:
        """Return a container. Raises ContainerError when there is none."""
        container = self.known.get(container_id)
        if container is None:
            raise ContainerError(f"container {container_id} not found")
        return container

    def running(self, container_id: str) -> ContainerRecord:
        """Return the record of a container that runs. Raises ContainerError."""
        record = self.get(container_id).record
        if record.state != RUNNING:
            raise ContainerError(f"container {record.name} is not running")
        return record

    async def create(self, sandbox_id: str, config: ContainerConfig) -> None:
        """Record a container; nothing runs yet. Raises ContainerError(CreateContainerError)."""
        record = self._sandboxes.known.get(sandbox_id)
        if record is None or not record.ready or not self._sandboxes.has_init(record):
            raise ContainerError(f"sandbox {sandbox_id} is not ready", reason="CreateContainerError")
        if config.id in self.known:
            return
        container = Container(self._describe(record, config))
        self.known[config.id] = container
        try:
            await asyncio.to_thread(self._write_container, container, config, record)
        except BaseException as error:
            del self.known[config.id]
            self._records.forget_container(config.id)
            if isinstance(error, OSError):
                message = f"cannot create container {config.name}: {error}"
                raise ContainerError(message, reason="CreateContainerError") from error
            raise
        self._emit(container)

    def _describe(self, record: SandboxRecord, config: ContainerConfig) -> ContainerRecord:
        return ContainerRecord(
            id=config.id,
            sandbox_id=record.id,
            handler=record.config.get("handler", ""),
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

    def _write_container(self, container: Container, config: ContainerConfig, parent: SandboxRecord) -> None:
        record = container.record
        files = self._sandboxes.files(parent)
        if config.processes_of:
            pid = self.get(config.processes_of).record.pid
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

    async def start(self, container: Container) -> None:
        """Run it. Raises ContainerError; it has then exited with code 128 and reason StartError."""
        record = container.record
        async with container.lock:
            if record.state == RUNNING:
                return
            if record.state != CREATED:
                raise ContainerError(f"container {record.name} has ended and cannot be started again")
            # Not written down: that a conmon has this bundle tells a new process as much.
            record.state = STARTING
            bundle, runtime = self._records.bundle(record.id), self._handlers.command(record.handler)
            try:
                await conmon.launch(record, bundle=bundle, exit_dir=self._records.exits, runtime=runtime)
                started = await spawn.run([*runtime, "start", record.id])
                if started.code != 0:
                    raise ContainerError(conmon.plain(started.text))
            except (ContainerError, OSError) as error:
                root = self._handlers.root(record.handler)
                await recovery.scrap(record, records=self._records, runtime=runtime, root=root)
                record.finish(code=128, at=clock.seconds(), reason="StartError", message=str(error))
                await asyncio.to_thread(self._records.note, record)
                container.exited.set()
                self._emit(container)
                raise ContainerError(str(error)) from error
            record.state, record.started_at = RUNNING, clock.seconds()
            await asyncio.to_thread(self._note_started, container)
            self._emit(container)
            self.watch(container)

    def _note_started(self, container: Container) -> None:
        record = container.record
        self._records.note(record)
        if container.seccomp:
            self._filters.learn(container.seccomp, f"{self._handlers.root(record.handler)}/{record.id}/seccomp.bpf")

    def watch(self, container: Container) -> None:
        """Notice the end of a container that runs; at once when it has ended."""
        record = container.record
        if record.state != RUNNING:
            return
        descriptor = processes.open_pid(record.conmon_pid, record.conmon_start)
        if descriptor is None:
            self._conmon_ended(container)
        else:
            container.watch = processes.Watch(descriptor, lambda: self._conmon_ended(container))

    def _conmon_ended(self, container: Container) -> None:
        self._spawn(self._finish(container), f"exit of {container.record.name}")

    async def _finish(self, container: Container) -> None:
        container.watch = None
        record = container.record
        await asyncio.to_thread(recovery.finish, record, records=self._records, cgroups=self._cgroups)
        await asyncio.to_thread(self._records.note, record)
        container.exited.set()
        self._emit(container)

    async def stop(self, container_id: str, timeout: float) -> None:
        """Send the stop signal, after `timeout` seconds SIGKILL; return when it has exited."""
        container = self.known.get(container_id)
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

    async def remove(self, container: Container) -> None:
        """Forget a container, killing it when it runs; its log files stay."""
        record = container.record
        await self.stop(record.id, 0)
        async with container.lock:
            if record.state != CREATED and record.boot == self._boot:
                await spawn.run([*self._handlers.command(record.handler), "delete", "--force", record.id])
            await asyncio.to_thread(self._cgroups.remove, record.cgroup)
            await asyncio.to_thread(self._records.forget_container, record.id)
            self.known.pop(record.id, None)

    async def update(self, container_id: str, resources: Resources) -> None:
        """Change the limits of a container, also of one that does not run yet. Raises ContainerError."""
        container = self.get(container_id)
        limits = spec.resources(resources, self._host)
        runtime = self._handlers.command(container.record.handler)
        async with container.lock:
            if container.record.state == RUNNING:
                done = await spawn.run(
                    [*runtime, "update", "--resources", "/proc/self/fd/0", container_id],
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


def signal_number(name: str) -> int:
    """Return the number of a signal given as ``SIGTERM``, ``TERM``, ``15`` or ``SIGRTMIN+3``; SIGTERM when unknown."""
    if name.isdigit():
        return int(name)
    base, _, offset = name.upper().removeprefix("SIG").partition("+")
    number = getattr(signal, f"SIG{base}", signal.SIGTERM)
    return int(number) + (int(offset) if offset.isdigit() else 0)
