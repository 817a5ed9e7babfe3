"""`wherry.runtime.protocol.Runtime` by crun (or another program, by handler) and conmon.

What exists is on disk (`wherry.runtime.records`), so a new process finds every sandbox and container, and what ended
while no process ran. `sandboxes` and `containers` do the work; here it is put together, and its callers are served.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from wherry.runtime import conmon, recovery, sessions, spawn, spec, userns
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.containers import Container, Containers
from wherry.runtime.events import Events
from wherry.runtime.handlers import Handlers, Program
from wherry.runtime.protocol import (
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
from wherry.runtime.records import Records, SandboxRecord
from wherry.runtime.sandboxes import Sandboxes
from wherry.util import clock, linux
from wherry.util.tasks import Scope

T = TypeVar("T")

_OWN_DIRECTORIES = ("bin", "crun", "runtimes", "sandboxes", "exec", "exits", "pause")
_LOCK_PATIENCE = 1.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class CrunRuntime:
    """The default runtime. One process at a time uses a state directory; `start` fails where another one does.

    `state_dir` outlives a reboot, `run_dir` need not. `cgroup_root` is the group (``/wherry/NAME``) that everything
    goes below and that `destroy` removes. `programs` are the handlers beside crun.
    """

    def __init__(
        self, *, state_dir: str, run_dir: str, cgroup_root: str, programs: Mapping[str, Program] | None = None
    ) -> None:
        self._records = Records(state_dir, exits=f"{run_dir}/exits")
        self._state_dir = state_dir
        self._run_dir = run_dir
        self._cgroup_root = cgroup_root
        self._cgroups = Cgroups()
        self._boot = ""
        self._handlers = Handlers(run_dir, programs or {})
        self._sandboxes = Sandboxes(
            self._records,
            run_dir=run_dir,
            cgroup_root=cgroup_root,
            cgroups=self._cgroups,
            handlers=self._handlers,
            on_lost=self._sandbox_lost,
        )
        self._containers = Containers(
            self._records,
            self._sandboxes,
            self._handlers,
            cgroups=self._cgroups,
            cgroup_root=cgroup_root,
            emit=self._emit,
            spawn=self._spawn,
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
                for container in list(self._containers.known.values()):
                    self._containers.watch(container)
                for record in list(self._sandboxes.known.values()):
                    self._sandboxes.watch(record)

    def _prepare(self) -> None:
        if shutil.which("conmon", path=spawn.environment()["PATH"]) is None:
            raise ContainerError("conmon is not installed")
        self._records.make_directories()
        self._lock_descriptor = self._lock()
        self._handlers.prepare()
        for directory in (*self._handlers.roots(), f"{self._run_dir}/sandboxes", f"{self._run_dir}/exec"):
            os.makedirs(directory, mode=0o711, exist_ok=True)
        recovery.raise_descriptor_limit()
        self._boot = linux.boot_id()

    def _lock(self) -> int:
        """Take the state directory for this process.

        One that was killed holds it a moment longer when it was starting a program: until that is executed.
        """
        descriptor = os.open(f"{self._state_dir}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = clock.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if clock.monotonic() > end:
                    os.close(descriptor)
                    raise ContainerError(f"another process uses {self._state_dir}") from None
                clock.block(0.01)
            else:
                return descriptor

    async def _adopt(self) -> None:
        # Whatever crun does now, it does for a process that is gone: an exec, or a container half made.
        await asyncio.to_thread(self._handlers.kill_all)
        await self._sandboxes.adopt(self._boot)
        await self._containers.adopt(self._boot)

    async def close(self) -> None:
        """Stop watching; containers run on."""
        if self._scope is None:
            return
        scope, self._scope = self._scope, None
        self._containers.stop_watching()
        await scope.__aexit__(None, None, None)
        self._events.end()
        self._containers.known.clear()
        self._sandboxes.close()
        self._handlers.close()
        os.close(self._lock_descriptor)

    async def destroy(self) -> None:
        """Stop and remove everything that this runtime made, on disk too, and close it (``wherry delete``)."""
        await self.start()
        for sandbox_id in list(self._sandboxes.known):
            await self.remove_sandbox(sandbox_id)
        for container_id in list(self._containers.known):
            await self.remove_container(container_id)
        await self.close()
        await asyncio.to_thread(self._cgroups.remove, self._cgroup_root, parents_below="/")
        await asyncio.to_thread(self._records.close)
        for directory in (f"{self._run_dir}/{name}" for name in _OWN_DIRECTORIES):
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
        shown = await spawn.run([self._handlers.command("")[0], "--version"])
        return f"crun://{shown.text.split()[2] if shown.code == 0 else 'unknown'}"

    # Sandboxes

    @property
    def handlers(self) -> Sequence[str]:
        """The handlers that a RuntimeClass can name, the default one (``""``) first."""
        return self._handlers.names()

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

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._scope is not None:
            self._scope.spawn(work, name=name, guard=True)
        else:
            work.close()

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
                for container in self._containers.of(sandbox_id):
                    group.create_task(self._containers.stop(container.record.id, 0))
            await self._sandboxes.release(record)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Stop it and forget it with its containers and its cgroup."""
        await self.start()
        await self._to_the_end(self._remove_sandbox(sandbox_id))

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        await self._stop_sandbox(sandbox_id)
        async with asyncio.TaskGroup() as group:
            for container in self._containers.of(sandbox_id):
                group.create_task(self._containers.remove(container))
        async with self._sandboxes.lock(sandbox_id):
            if (record := self._sandboxes.known.get(sandbox_id)) is not None:
                await self._sandboxes.forget(record)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        """Return every sandbox that was not removed."""
        await self.start()
        return [record.status() for record in self._sandboxes.known.values()]

    # Containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> None:
        """Record a container; nothing runs yet. Raises ContainerError(CreateContainerError)."""
        await self.start()
        _check_id(config.id)
        self._hasten()
        await self._containers.create(sandbox_id, config)

    def _hasten(self) -> None:
        """Have the kernel ready for the move of a container's first process, which crun would else wait for."""
        if self._scope is not None and (self._hastened is None or self._hastened.done()):
            self._hastened = self._scope.spawn(asyncio.to_thread(self._cgroups.hasten), guard=True)

    async def start_container(self, container_id: str) -> None:
        """Run it. Raises ContainerError(RunContainerError); it has then exited with code 128 and reason StartError."""
        await self.start()
        await self._to_the_end(self._containers.start(self._containers.get(container_id)))

    async def stop_container(self, container_id: str, timeout: float) -> None:
        """Send the stop signal, after `timeout` seconds SIGKILL; return when it has exited."""
        await self.start()
        await self._containers.stop(container_id, timeout)

    async def remove_container(self, container_id: str) -> None:
        """Forget a container, killing it when it runs; its log files stay."""
        await self.start()
        if (container := self._containers.known.get(container_id)) is not None:
            await self._to_the_end(self._containers.remove(container))

    async def list_containers(self) -> list[ContainerStatus]:
        """Return every container that was not removed."""
        await self.start()
        return [container.record.status() for container in self._containers.known.values()]

    async def container_status(self, container_id: str) -> ContainerStatus | None:
        """Return the state of one container, None when there is none."""
        await self.start()
        container = self._containers.known.get(container_id)
        return container.record.status() if container else None

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Change the limits of a container, also of one that does not run yet. Raises ContainerError."""
        await self.start()
        await self._containers.update(container_id, resources)

    # Streams

    async def exec_sync(self, container_id: str, args: Sequence[str], timeout: float | None) -> ExecResult:
        """Run a command and return its output. Raises TimeoutError, and kills the command, after `timeout` seconds."""
        return await sessions.collect(await self.exec(container_id, args, stdin=False, tty=False), timeout)

    async def exec(
        self,
        container_id: str,
        args: Sequence[str],
        *,
        stdin: bool,
        tty: bool,
        size: tuple[int, int] | None = None,
    ) -> Session:
        """Start a command with the container's user, environment and rights; `size` (width, height) is its terminal's.

        Raises ContainerError.
        """
        await self.start()
        record = self._containers.running(container_id)
        self._hasten()
        process = await asyncio.to_thread(self._exec_process, container_id, args, tty)
        if tty and size is not None:
            process["consoleSize"] = {"width": size[0], "height": size[1]}
        run_dir = f"{self._run_dir}/exec"
        runtime = self._handlers.command(record.handler)
        return await sessions.run_in_container(runtime, container_id, process, stdin=stdin, tty=tty, run_dir=run_dir)

    def _exec_process(self, container_id: str, args: Sequence[str], tty: bool) -> dict[str, Any]:
        with open(f"{self._records.bundle(container_id)}/config.json") as file:
            process: dict[str, Any] = json.load(file)["process"]
        env = [tuple(each.split("=", 1)) for each in process["env"]]
        return process | {"args": list(args), "terminal": tty, "env": spec.environment(env, tty=tty)}

    async def attach(self, container_id: str) -> Session:
        """Connect to the streams of a running container. Raises ContainerError."""
        await self.start()
        record = self._containers.running(container_id)
        return sessions.AttachSession(self._records.bundle(container_id), terminal=record.tty, stdin=record.stdin)

    async def reopen_log(self, container_id: str) -> None:
        """Open the log file anew after a rotation; nothing happens when the container has ended."""
        await self.start()
        if self._containers.get(container_id).record.state == RUNNING:
            with contextlib.suppress(OSError):
                conmon.reopen_log(self._records.bundle(container_id))

    # Measures

    async def stats(self, container_id: str) -> Stats | None:
        """Return the counters of a container's cgroup, None when it does not run."""
        await self.start()
        container = self._containers.known.get(container_id)
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

    def _emit(self, container: Container) -> None:
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
