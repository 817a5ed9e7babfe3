"""What the runtime holds, by pod: one listing, kept up to date by the runtime's events and the workers' reports."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wherry.kubelet import labels
from wherry.runtime.protocol import CREATED, EXITED, RUNNING, ContainerStatus, Runtime, SandboxStatus

log = logging.getLogger(__name__)

_ORDER = {CREATED: 0, RUNNING: 1, EXITED: 2}


@dataclass(slots=True)
class PodRuntime:
    """The sandboxes and containers of one pod. Lists are newest first."""

    sandboxes: dict[str, SandboxStatus] = field(default_factory=dict)
    containers: dict[str, ContainerStatus] = field(default_factory=dict)

    def sandbox(self) -> SandboxStatus | None:
        """Return the newest sandbox."""
        return max(self.sandboxes.values(), key=_attempt_of, default=None)

    def attempts(self, name: str) -> list[ContainerStatus]:
        """Return every attempt of a container, newest first."""
        found = [c for c in self.containers.values() if c.labels.get(labels.CONTAINER_NAME, c.name) == name]
        return sorted(found, key=lambda c: (labels.restart_count(c.labels), c.created_at), reverse=True)

    def latest(self, name: str) -> ContainerStatus | None:
        """Return the newest attempt of a container."""
        attempts = self.attempts(name)
        return attempts[0] if attempts else None

    def running(self) -> list[ContainerStatus]:
        return [c for c in self.containers.values() if c.state == RUNNING]


def _attempt_of(sandbox: SandboxStatus) -> tuple[int, float]:
    return int(sandbox.labels.get(labels.ATTEMPT) or 0), sandbox.created_at


class RuntimeCache:
    """Serves reads of the runtime's state from memory; `on_change` is called with a pod's UID after an event."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pods: dict[str, PodRuntime] = {}
        self._owner: dict[str, str] = {}
        self.on_change: Callable[[str], None] = lambda uid: None

    async def load(self) -> None:
        """Read everything once, when the process starts."""
        for sandbox in await self._runtime.list_sandboxes():
            self.put_sandbox(sandbox)
        for container in await self._runtime.list_containers():
            self.put_container(container)

    async def run(self) -> None:
        """Follow the runtime's events until cancelled."""
        async for event in self._runtime.events():
            try:
                uid = await (self.refresh(event.container_id) if event.container_id else self._lost(event.sandbox_id))
            except Exception:
                log.exception("cannot read container %s of sandbox %s", event.container_id, event.sandbox_id)
                continue
            if uid:
                self.on_change(uid)

    async def _lost(self, sandbox_id: str) -> str:
        """Read a sandbox anew that is not ready any more and return its pod's UID."""
        for sandbox in await self._runtime.list_sandboxes():
            if sandbox.id == sandbox_id:
                self.put_sandbox(sandbox)
                return sandbox.labels.get(labels.POD_UID, "")
        return ""

    async def refresh(self, container_id: str) -> str:
        """Read one container anew and return its pod's UID, empty when the container is gone or not a pod's."""
        status = await self._runtime.container_status(container_id)
        if status is None:
            return self.drop_container(container_id)
        return self.put_container(status)

    def put_container(self, status: ContainerStatus) -> str:
        """Record a container; an older state never replaces a newer one."""
        uid = status.labels.get(labels.POD_UID, "")
        if not uid:
            return ""
        known = self._pods.setdefault(uid, PodRuntime()).containers
        before = known.get(status.id)
        if before is None or _ORDER[status.state] >= _ORDER[before.state]:
            known[status.id] = status
        self._owner[status.id] = uid
        return uid

    def drop_container(self, container_id: str) -> str:
        """Forget a removed container and return its pod's UID."""
        uid = self._owner.pop(container_id, "")
        if uid in self._pods:
            self._pods[uid].containers.pop(container_id, None)
        return uid

    def put_sandbox(self, sandbox: SandboxStatus) -> None:
        """Record a sandbox."""
        uid = sandbox.labels.get(labels.POD_UID, "")
        if uid:
            self._pods.setdefault(uid, PodRuntime()).sandboxes[sandbox.id] = sandbox

    def drop_sandbox(self, uid: str, sandbox_id: str) -> None:
        """Forget a removed sandbox."""
        if uid in self._pods:
            self._pods[uid].sandboxes.pop(sandbox_id, None)

    def pod(self, uid: str) -> PodRuntime:
        """Return what runs for a pod; empty when nothing does."""
        return self._pods.get(uid) or PodRuntime()

    def drop_pod(self, uid: str) -> None:
        """Forget a pod of which nothing is left."""
        for container_id in list(self.pod(uid).containers):
            self._owner.pop(container_id, None)
        self._pods.pop(uid, None)

    def uids(self) -> Iterator[str]:
        """Iterate over the UIDs of pods that the runtime knows."""
        return iter(list(self._pods))
