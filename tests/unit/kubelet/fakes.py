"""A node without a machine: a runtime, images and network in memory, and a harness that runs workers over them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wherry.api import meta
from wherry.api.resources import PODS, SERVICES
from wherry.client.client import Client
from wherry.client.events import EventRecorder
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.images.protocol import Credentials, Ids, Image, ImageError, User
from wherry.kubelet import podspec
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.events import PodEvents
from wherry.kubelet.handlers import HttpCaller
from wherry.kubelet.hooks import HookRunner
from wherry.kubelet.objects import ObjectCache
from wherry.kubelet.pods import PodManager
from wherry.kubelet.probes.check import Checker, Outcome
from wherry.kubelet.pulling import ImagePuller
from wherry.kubelet.runtime_cache import RuntimeCache
from wherry.kubelet.services import NodeServices
from wherry.kubelet.status_manager import StatusManager
from wherry.kubelet.tokens import TokenManager
from wherry.kubelet.userns import HostIds
from wherry.kubelet.volumes.manager import VolumeManager
from wherry.network.protocol import Attachment, AttachOptions
from wherry.runtime.protocol import (
    CREATED,
    EXITED,
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
from wherry.util import clock
from wherry.util.disk import DiskUsage
from wherry.util.tasks import Scope

NODE = "node-1"
IMAGE = "registry.test/app:1"


class FakeRuntime:
    """A runtime whose containers run until told otherwise.

    `programs` says what the containers of a name do: seconds to run and the exit code, one entry per attempt; the last
    entry repeats. `log` lists calls in their order.
    """

    def __init__(self) -> None:
        self.sandboxes: dict[str, SandboxStatus] = {}
        self.containers: dict[str, ContainerStatus] = {}
        self.configs: dict[str, ContainerConfig] = {}
        self.sandbox_configs: dict[str, SandboxConfig] = {}
        self.programs: dict[str, list[tuple[float, int]]] = {}
        self.stop_delay: dict[str, float] = {}
        self.exec_results: dict[str, Callable[[], ExecResult]] = {}
        self.fail_create: dict[str, ContainerError] = {}
        self.fail_start: dict[str, ContainerError] = {}
        self.hang_create: set[str] = set()
        self.log: list[str] = []
        self.updated: list[tuple[str, Resources]] = []
        self.usage: dict[str, Stats] = {}
        self._queues: list[asyncio.Queue[RuntimeEvent]] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def version(self) -> str:
        return "crun://1.8.1"

    handlers = ("", "crun")
    user_namespaces = True

    async def make_user_namespace(self, sandbox_id: str, host_id: int) -> UserNamespace:
        return UserNamespace(f"/fake/{sandbox_id}/user", f"/fake/{sandbox_id}/net", host_id)

    async def run_sandbox(self, config: SandboxConfig) -> None:
        assert config.id not in self.sandboxes, "a sandbox was started twice"
        self.log.append("sandbox")
        self.sandbox_configs[config.id] = config
        self.sandboxes[config.id] = SandboxStatus(
            id=config.id, ready=True, labels=config.labels, created_at=clock.seconds(),
            network_namespace=config.network_namespace,
        )  # fmt: skip

    async def stop_sandbox(self, sandbox_id: str) -> None:
        if sandbox_id in self.sandboxes:
            self.sandboxes[sandbox_id] = replace(self.sandboxes[sandbox_id], ready=False)
            for status in list(self.containers.values()):
                if status.sandbox_id == sandbox_id and status.state == RUNNING:
                    self.exit(status.id, 137, signal=9)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        self.sandboxes.pop(sandbox_id, None)

    async def list_sandboxes(self) -> list[SandboxStatus]:
        return list(self.sandboxes.values())

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> None:
        if config.name in self.fail_create:
            raise self.fail_create[config.name]
        if config.name in self.hang_create:
            await asyncio.Event().wait()
        self.log.append(f"create {config.name}")
        self.configs[config.id] = config
        self.containers[config.id] = ContainerStatus(
            id=config.id, sandbox_id=sandbox_id, name=config.name, state=CREATED, pid=0, labels=config.labels,
            created_at=clock.seconds(), started_at=0.0, finished_at=0.0, log_path=config.log_path,
        )  # fmt: skip

    async def start_container(self, container_id: str) -> None:
        status = self.containers[container_id]
        running = [c for c in self.containers.values() if c.name == status.name and c.state == RUNNING]
        same_pod = [c for c in running if c.labels["io.kubernetes.pod.uid"] == status.labels["io.kubernetes.pod.uid"]]
        assert not same_pod, f"container {status.name} was started twice"
        self.log.append(f"start {status.name}")
        if failure := self.fail_start.get(status.name):
            self.containers[container_id] = replace(
                status, state=EXITED, finished_at=clock.seconds(), exit_code=128, reason="StartError",
                message=str(failure),
            )  # fmt: skip
            self._send(container_id, EXITED)
            raise failure
        self.containers[container_id] = replace(status, state=RUNNING, pid=1, started_at=clock.seconds())
        self._send(container_id, RUNNING)
        programs = self.programs.get(status.name)
        if programs:
            seconds, code = programs.pop(0) if len(programs) > 1 else programs[0]
            loop = asyncio.get_running_loop()
            self._timers[container_id] = loop.call_later(seconds, self.exit, container_id, code)

    def exit(self, container_id: str, code: int, *, signal: int = 0, reason: str = "") -> None:
        """End a container."""
        status = self.containers[container_id]
        if status.state != RUNNING:
            return
        if timer := self._timers.pop(container_id, None):
            timer.cancel()
        self.containers[container_id] = replace(
            status, state=EXITED, pid=0, finished_at=clock.seconds(), exit_code=code, signal=signal,
            reason=reason or ("Completed" if code == 0 else "Error"),
        )  # fmt: skip
        self._send(container_id, EXITED)

    async def stop_container(self, container_id: str, timeout: float) -> None:
        status = self.containers.get(container_id)
        if status is None or status.state != RUNNING:
            return
        self.log.append(f"stop {status.name}")
        delay = self.stop_delay.get(status.name, 0.0)
        await clock.sleep(min(delay, timeout))
        self.exit(container_id, 143 if delay <= timeout else 137, signal=0)

    async def remove_container(self, container_id: str) -> None:
        status = self.containers.get(container_id)
        assert status is None or status.state != RUNNING, "a running container was removed"
        self.containers.pop(container_id, None)

    async def list_containers(self) -> list[ContainerStatus]:
        return list(self.containers.values())

    async def container_status(self, container_id: str) -> ContainerStatus | None:
        return self.containers.get(container_id)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        self.updated.append((container_id, resources))

    async def exec_sync(self, container_id: str, args: Sequence[str], timeout: float | None) -> ExecResult:
        self.log.append(f"exec {' '.join(args)}")
        answer = self.exec_results.get(args[0])
        return answer() if answer else ExecResult(0, b"", b"")

    async def exec(
        self,
        container_id: str,
        args: Sequence[str],
        *,
        stdin: bool,
        tty: bool,
        size: tuple[int, int] | None = None,
    ) -> Session:
        raise NotImplementedError

    async def attach(self, container_id: str) -> Session:
        raise NotImplementedError

    async def reopen_log(self, container_id: str) -> None:
        self.log.append("reopen")

    async def stats(self, container_id: str) -> Stats | None:
        return self.usage.get(self.configs[container_id].name)

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        queue: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._queues.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)

    async def close(self) -> None: ...

    def named(self, name: str) -> list[ContainerStatus]:
        """Return all attempts of a container, oldest first."""
        return sorted((c for c in self.containers.values() if c.name == name), key=lambda c: c.created_at)

    def running(self, name: str) -> ContainerStatus | None:
        return next((c for c in self.named(name) if c.state == RUNNING), None)

    def _send(self, container_id: str, state: str) -> None:
        for queue in self._queues:
            queue.put_nowait(RuntimeEvent(self.containers[container_id].sandbox_id, container_id, state))


@dataclass
class FakeImageStore:
    """Images by reference; `remote` are those that a pull finds, each after `pull_time` seconds."""

    local: dict[str, Image] = field(default_factory=dict)
    remote: dict[str, Image] = field(default_factory=dict)
    pull_time: float = 0.0
    pulls: list[str] = field(default_factory=list)
    mounted: set[str] = field(default_factory=set)
    on_named: Callable[[Image], None] = lambda image: None

    def add(self, reference: str, **members: Any) -> Image:
        image = Image(
            id=f"sha256:{abs(hash(reference)):064x}", tags=(reference,), digests=(), size=1000, created=0.0, **members
        )
        self.local[reference] = image
        self.on_named(image)
        return image

    async def list(self) -> Sequence[Image]:
        return list(self.local.values())

    async def find(self, reference: str) -> Image | None:
        if reference != reference.lower():
            raise ImageError("invalid reference format", reason="InvalidImageName")
        return self.local.get(reference)

    async def pull(self, reference: str, credentials: Sequence[Credentials] = (), *, progress: object = None) -> Image:
        self.pulls.append(reference)
        await clock.sleep(self.pull_time)
        if reference not in self.remote:
            raise ImageError(f"{reference}: not found")
        self.local[reference] = self.remote[reference]
        return self.local[reference]

    async def load(self, path: str) -> Sequence[Image]:
        raise NotImplementedError

    async def remove(self, reference: str) -> None:
        self.local.pop(reference, None)

    async def mount(self, image_id: str, key: str, *, ids: Ids | None = None) -> str:
        self.mounted.add(key)
        return f"/fake/{key}"

    async def unmount(self, key: str) -> None:
        self.mounted.discard(key)

    async def resolve_user(self, rootfs: str, user: str) -> User:
        uid, _, gid = user.partition(":")
        return User(int(uid or 0), int(gid or 0))

    async def usage(self) -> int:
        return 0

    async def roots(self) -> Sequence[str]:
        return sorted(self.mounted)

    async def root_usage(self, key: str) -> DiskUsage:
        return DiskUsage()


class FakeNetwork:
    """Gives each sandbox the next address of 10.1.0.0/16."""

    def __init__(self) -> None:
        self.attached: dict[str, Attachment] = {}
        self._next = 1

    async def start(self) -> None: ...

    async def attach(self, sandbox_id: str, options: AttachOptions) -> Attachment:
        if sandbox_id not in self.attached:
            address = f"10.1.0.{self._next}"
            self._next += 1
            self.attached[sandbox_id] = Attachment(sandbox_id, f"/run/netns/{sandbox_id[:8]}", (address,))
        return self.attached[sandbox_id]

    async def detach(self, sandbox_id: str) -> None:
        self.attached.pop(sandbox_id, None)

    def attachments(self) -> Sequence[Attachment]:
        return list(self.attached.values())

    async def destroy(self) -> None:
        self.attached.clear()


class FakeChecker(Checker):
    """Answers probes out of a table: (container, kind of action) to a function."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], Outcome]] = {}
        self.asked: list[tuple[float, str]] = []

    async def check(self, probe: Any, container: Any, *, container_id: str, address: str) -> Outcome:
        name = (probe.get("exec") or {}).get("command", [container["name"]])[0]
        self.asked.append((clock.seconds(), name))
        answer = self.answers.get(name)
        return answer() if answer else Outcome(True)


@dataclass
class Node:
    """One fake node and the API it sees; `restart` ends the kubelet and starts another over the same runtime."""

    root: Path
    api: FakeTransport = field(default_factory=FakeTransport)
    runtime: FakeRuntime = field(default_factory=FakeRuntime)
    images: FakeImageStore = field(default_factory=FakeImageStore)
    network: FakeNetwork = field(default_factory=FakeNetwork)
    checker: FakeChecker = field(default_factory=FakeChecker)

    @asynccontextmanager
    async def kubelet(self) -> AsyncIterator[PodManager]:
        """Run workers for the pods of the node."""
        config = KubeletConfig(
            node_name=NODE, root=self.root / "state", run=self.root / "run", log_root=self.root / "log",
            address="192.168.0.1", cluster_dns=("10.96.0.10",), resolv_conf=self.root / "resolv.conf",
        )  # fmt: skip
        client = Client(self.api)
        recorder = EventRecorder(client, "kubelet", NODE)
        events = PodEvents(recorder)
        http = HttpCaller("kube-probe/1.36")
        async with Scope() as scope, InformerFactory(client) as factory:
            informer = factory.informer(PODS, field_selector=f"spec.nodeName={NODE}")
            services_informer = factory.informer(SERVICES)
            scope.spawn(recorder.run())
            await informer.wait_synced()
            await services_informer.wait_synced()

            def current(pod: meta.Object) -> meta.Object | None:
                found = informer.lister.get(meta.key_of(pod))
                return found if found is not None and podspec.stands_for(found, pod) else None

            services = NodeServices(
                config=config, client=client, runtime=self.runtime, images=self.images, network=self.network,
                cgroups=None, cache=RuntimeCache(self.runtime), volumes=VolumeManager(config, events),
                objects=ObjectCache(client, scope), tokens=TokenManager(client), host_ids=HostIds(config),
                puller=ImagePuller(self.images, events),
                hooks=HookRunner(self.runtime, http), checker=self.checker, events=events,
                statuses=StatusManager(client, scope, current), services=services_informer.lister,
                hostname=NODE, node_memory=1 << 33,
                allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"},
            )  # fmt: skip
            manager = PodManager(services, informer, scope)
            await services.cache.load()
            scope.spawn(services.cache.run())
            manager.start()
            yield manager
        await http.close()

    def create(self, **members: Any) -> meta.Object:
        """Create a pod bound to this node; `members` are spec members and metadata by their names."""
        return self.api.put(make_pod(**members))

    def status(self, name: str = "web") -> dict[str, Any]:
        found = self.api.get(PODS, f"default/{name}")
        assert found is not None, f"pod {name} is gone"
        return found.get("status") or {}

    def condition(self, kind: str, name: str = "web") -> str:
        return next((c["status"] for c in self.status(name).get("conditions", ()) if c["type"] == kind), "")

    def messages(self) -> list[str]:
        """Return the events written so far: reason and message."""
        from wherry.api.resources import EVENTS

        found = sorted(self.api.list(EVENTS), key=lambda e: int(e["metadata"]["resourceVersion"]))
        return [f"{event['reason']}: {event['message']}" for event in found]

    async def until(self, condition: Callable[[], Any], *, within: float = 60.0) -> None:
        """Wait in virtual time until `condition` holds."""
        end = clock.monotonic() + within
        while not condition():
            assert clock.monotonic() < end, f"not within {within}s; {self.api.list(PODS)}"
            await clock.sleep(0.01)


def make_pod(*, name: str = "web", metadata: dict[str, Any] | None = None, **spec: Any) -> meta.Object:
    """Return a pod as the API server stores it, bound to the node."""
    spec.setdefault("containers", [container("app")])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", **(metadata or {})},
        "spec": {"nodeName": NODE, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, **spec},
    }


def container(name: str, **members: Any) -> dict[str, Any]:
    """Return a container."""
    return {
        "name": name,
        "image": "registry.test/app:1",
        "command": ["serve"],
        "imagePullPolicy": "IfNotPresent",
        **members,
    }
