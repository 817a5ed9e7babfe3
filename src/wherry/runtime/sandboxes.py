"""The sandboxes of a runtime: their records, namespaces, cgroups and the init of a shared process namespace."""

import asyncio
import os
import shutil
import weakref
from collections.abc import Callable
from dataclasses import asdict

from wherry.runtime import pause, processes, sandbox, spawn, userns
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.handlers import Handlers
from wherry.runtime.protocol import ContainerError, SandboxConfig, UserNamespace
from wherry.runtime.records import Records, SandboxRecord, write_json
from wherry.runtime.spec import SandboxFiles
from wherry.util import clock


class Sandboxes:
    """Makes and releases sandboxes; knows nothing of the containers in them. `known` has their records by id.

    Its owner holds `lock(id)` around whatever changes one.
    """

    def __init__(
        self,
        records: Records,
        *,
        run_dir: str,
        cgroup_root: str,
        cgroups: Cgroups,
        handlers: Handlers,
        on_lost: Callable[[SandboxRecord], None],
    ) -> None:
        self.known: dict[str, SandboxRecord] = {}
        self._records = records
        self._run_dir = run_dir
        self._cgroup_root = cgroup_root
        self._cgroups = cgroups
        self._handlers = handlers
        self._on_lost = on_lost
        self._watches: dict[str, processes.Watch] = {}
        self._boot = ""
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def lock(self, sandbox_id: str) -> asyncio.Lock:
        """Return the lock of a sandbox, also of one that is not there yet."""
        return self._locks.setdefault(sandbox_id, asyncio.Lock())

    def _directory(self, sandbox_id: str) -> str:
        return f"{self._run_dir}/sandboxes/{sandbox_id}"

    async def adopt(self, boot: str) -> None:
        """Read what an earlier process left; one whose namespaces are gone is not ready. `boot` is the present boot."""
        self._boot = boot
        for record in await asyncio.to_thread(lambda: list(self._records.load_sandboxes())):
            self.known[record.id] = record
            if record.ready and not await asyncio.to_thread(self._intact, record):
                await self.mark_stopped(record)
        for name in await asyncio.to_thread(self._directories):
            if name not in self.known:
                await self.drop(name)

    def _directories(self) -> list[str]:
        directory = f"{self._run_dir}/sandboxes"
        return os.listdir(directory) if os.path.isdir(directory) else []

    def _intact(self, record: SandboxRecord) -> bool:
        return (
            record.boot == self._boot
            and sandbox.intact(self._directory(record.id), record.parsed())
            and self.has_init(record)
        )

    def has_init(self, record: SandboxRecord) -> bool:
        """Tell whether the init of a shared process namespace lives; true where there is to be none."""
        if not record.pause_pid:
            return True
        lives = os.path.exists(f"/proc/{record.pause_pid}/ns/pid")  # a process that is ending has lost its namespaces
        return lives and processes.start_ticks(record.pause_pid) == record.pause_start

    def watch(self, record: SandboxRecord) -> None:
        """Have `on_lost` called when the init of a ready sandbox ends; at once when it has."""
        if not record.ready or not record.pause_pid:
            return
        descriptor = processes.open_pid(record.pause_pid, record.pause_start)
        if descriptor is None:
            self._on_lost(record)
        else:
            self._watches[record.id] = processes.Watch(descriptor, lambda: self._on_lost(record))

    def close(self) -> None:
        """Stop watching, and forget what is known in memory."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()
        self.known.clear()

    async def make_user_namespace(self, sandbox_id: str, host_id: int) -> UserNamespace:
        """Make the user namespace of a sandbox to be, unless it is there. Raises ContainerError."""
        directory = self._directory(sandbox_id)
        try:
            await asyncio.to_thread(userns.make, directory, host_id)
        except OSError as error:
            await self.drop(sandbox_id)
            raise ContainerError(f"cannot make a user namespace: {error}", reason="CreatePodSandboxError") from error
        return UserNamespace(f"{directory}/user", f"{directory}/net", host_id)

    async def drop(self, sandbox_id: str) -> None:
        """Take away what was made for a sandbox that never ran."""
        await asyncio.to_thread(sandbox.clean, self._directory(sandbox_id))

    async def make(self, config: SandboxConfig) -> None:
        """Make a sandbox unless it is there and ready. Raises ContainerError; nothing is left of it then."""
        known = self.known.get(config.id)
        if known is not None and known.ready:
            return
        values = asdict(config) | {"labels": dict(config.labels), "sysctls": dict(config.sysctls)}
        record = SandboxRecord(
            id=config.id, config=values, created_at=clock.seconds(), boot=self._boot, labels=dict(config.labels)
        )
        self.known[config.id] = record
        try:
            await asyncio.to_thread(self._make, record, config)
            if not record.ready:
                record.pause_pid = await self._start_pause(config)
                record.pause_start, record.ready = processes.start_ticks(record.pause_pid), True
                await asyncio.to_thread(self._records.save, record)
                self.watch(record)
        except (OSError, ContainerError) as error:
            await self.release(record)
            await self.forget(record)
            raise ContainerError(f"cannot make a sandbox: {error}", reason="CreatePodSandboxError") from error

    def _make(self, record: SandboxRecord, config: SandboxConfig) -> None:
        # Recorded first: a process that ends in between leaves nothing that the next one does not know. Without an
        # init to come it is ready by this record once its namespaces are there, and they are made last.
        record.ready = config.host_pid or not config.share_process_namespace
        self._records.save(record)
        if config.cgroup_parent:
            self._cgroups.make(config.cgroup_parent, config.resources)
        sandbox.make(self._directory(config.id), config)

    async def _start_pause(self, config: SandboxConfig) -> int:
        directory, root = f"{self._directory(config.id)}/pause", f"{self._run_dir}/pause"
        name = f"{config.id}-pause"
        files = sandbox.files(self._directory(config.id), config)
        joined = [{"type": kind, "path": path} for kind, path in files.namespaces.items() if path]
        cgroup = f"{config.cgroup_parent or self._cgroup_root}/{name}"
        described = pause.spec(root, joined, cgroup, mappings=files.mappings())
        await asyncio.to_thread(pause.make_root, root)
        await asyncio.to_thread(os.makedirs, directory, exist_ok=True)
        await asyncio.to_thread(write_json, f"{directory}/config.json", described)
        pid_file = f"{directory}/pid"
        runtime = self._handlers.command(config.handler)
        made = await spawn.run([*runtime, "run", "--detach", "--pid-file", pid_file, "--bundle", directory, name])
        if made.code != 0:
            raise ContainerError(made.text)
        return processes.read_pid(pid_file)

    def files(self, record: SandboxRecord) -> SandboxFiles:
        """Return what the containers of a sandbox join and mount."""
        return sandbox.files(self._directory(record.id), record.parsed(), pause_pid=record.pause_pid)

    async def mark_stopped(self, record: SandboxRecord) -> None:
        """Write down that a sandbox is not ready any more."""
        if record.ready:
            record.ready = False
            await asyncio.to_thread(self._records.note, record)

    async def release(self, record: SandboxRecord) -> None:
        """Let go of the namespaces of a sandbox in which nothing runs any more."""
        if (watch := self._watches.pop(record.id, None)) is not None:
            watch.close()
        if record.config["share_process_namespace"]:
            handler, name = record.config.get("handler", ""), f"{record.id}-pause"
            await spawn.run([*self._handlers.command(handler), "delete", "--force", name])
            await asyncio.to_thread(shutil.rmtree, f"{self._handlers.root(handler)}/{name}", ignore_errors=True)
        await asyncio.to_thread(sandbox.clean, self._directory(record.id))

    async def forget(self, record: SandboxRecord) -> None:
        """Remove the cgroup and the record of a released sandbox."""
        if parent := record.config["cgroup_parent"]:
            await asyncio.to_thread(self._cgroups.remove, parent)
        await asyncio.to_thread(self._records.forget_sandbox, record.id)
        self.known.pop(record.id, None)
