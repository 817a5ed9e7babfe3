"""Assembles one kubelet and runs it."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable

from wherry.api import meta
from wherry.api.resources import NODES, PODS, SERVICES
from wherry.client.client import Client
from wherry.client.events import EventRecorder
from wherry.client.informer import InformerFactory
from wherry.images.protocol import ImageStore
from wherry.kubelet import cgroups as pod_cgroups
from wherry.kubelet import csinode, podspec
from wherry.kubelet.clockwatch import ClockWatch
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.events import PodEvents
from wherry.kubelet.eviction import Evictor
from wherry.kubelet.garbage import ImageCollector
from wherry.kubelet.handlers import HttpCaller
from wherry.kubelet.hooks import HookRunner
from wherry.kubelet.logrotation import LogRotator
from wherry.kubelet.machine import Machine
from wherry.kubelet.manifests import Manifests
from wherry.kubelet.node_status import NodeStatus
from wherry.kubelet.objects import ObjectCache
from wherry.kubelet.pods import PodManager
from wherry.kubelet.probes.check import Checker
from wherry.kubelet.pulling import ImagePuller
from wherry.kubelet.runtime_cache import RuntimeCache
from wherry.kubelet.server import stats
from wherry.kubelet.server.app import NodeServer
from wherry.kubelet.services import NodeServices
from wherry.kubelet.static_pods import StaticPods
from wherry.kubelet.status_manager import StatusManager
from wherry.kubelet.tokens import TokenManager
from wherry.kubelet.userns import HostIds
from wherry.kubelet.volumes.manager import VolumeManager
from wherry.network.protocol import Network
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.protocol import ContainerStatus, Runtime, Stats
from wherry.util import linux
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds for which static pods wait for what the API server has of them, when both start at one time."""


class Kubelet:
    """One node's kubelet. `run` it until it is cancelled; containers run on after that.

    `ready` is set once the node is registered, its pods are known and their workers run. `informers` may be shared
    with other parts of the node process (the proxy needs Services too); they are started by their owner. `served` is
    set when the API server is there; static pods do not wait for it.
    """

    def __init__(
        self,
        config: KubeletConfig,
        *,
        client: Client,
        informers: InformerFactory,
        runtime: Runtime,
        images: ImageStore,
        network: Network,
        served: asyncio.Event,
        cgroups: Cgroups | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.config = config
        self.ready = asyncio.Event()
        self._served = served
        self._client = client
        self._informers = informers
        self._runtime = runtime
        self._images = images
        self._network = network
        self._cgroups = cgroups
        self._machine = machine or Machine()
        self._recorder = EventRecorder(client, "kubelet", config.node_name, quiet=self._is_quiet)
        self._starting: set[str] = set()
        self._usage: Callable[[], Awaitable[list[tuple[meta.Object, ContainerStatus, Stats]]]] = _nothing
        self._pod_informer = informers.informer(PODS, field_selector=f"spec.nodeName={config.node_name}")
        self._service_informer = informers.informer(SERVICES)
        self._node_informer = informers.informer(NODES, field_selector=f"metadata.name={config.node_name}")

    async def usage(self) -> list[tuple[meta.Object, ContainerStatus, Stats]]:
        """Return what each running container of each pod has used; nothing while the kubelet does not run."""
        return await self._usage()

    def _is_quiet(self) -> bool:
        return not self._starting

    async def run(self) -> None:
        """Register the node and drive its pods until cancelled."""
        http = HttpCaller(user_agent="kube-probe/1.36")
        try:
            async with Scope() as scope:
                await self._run(scope, http)
        finally:
            await http.close()

    async def _run(self, scope: Scope, http: HttpCaller) -> None:
        config = self.config
        await asyncio.to_thread(_prepare_directories, config, self._cgroups, self._machine.processors)
        scope.spawn(self._recorder.run(), name="events")
        status = NodeStatus(
            config,
            client=self._client,
            recorder=self._recorder,
            runtime=self._runtime,
            images=self._images,
            machine=self._machine,
        )
        await status.measure()
        services = self._services(scope, http, status)
        manager = PodManager(services, self._pod_informer, scope)
        self._usage = lambda: stats.usage(manager.pods(), services)
        await services.cache.load()
        await manager.remove_unclaimed()
        scope.spawn(services.cache.run(), name="runtime events")
        if config.client_ca is not None:
            server = NodeServer(config, pods=manager, services=services, status=status)
            scope.spawn(server.run(), name="node API")
            await server.listening.wait()
        static = StaticPods(
            Manifests(config.manifests, config.node_name),
            client=self._client,
            manager=manager,
            informer=self._pod_informer,
            scope=scope,
            node=services.node,
        )
        synced = scope.spawn(self._synced(scope, status))
        await asyncio.wait({synced}, timeout=_PATIENCE)
        if not synced.done():
            log.warning("the API server does not answer; static pods start without it")
        await static.start()
        scope.spawn(static.run(), name="static pods", guard=True)
        await synced
        manager.start()
        static.show()
        collector = ImageCollector(config, self._images, manager.pods, self._recorder, status.reference)
        scope.spawn(collector.run(), name="image garbage", guard=True)
        evictor = Evictor(manager, services, status, collector)
        scope.spawn(evictor.run(), name="eviction", guard=True)

        def clock_set(message: str) -> None:
            status.warn("ClockSet", message)
            services.tokens.renew()
            manager.wake()

        scope.spawn(ClockWatch(clock_set).run(), name="clock", guard=True)
        scope.spawn(manager.remove_orphans(), name="orphans", guard=True)
        scope.spawn(LogRotator(config, self._runtime, services.cache).run(), name="log rotation", guard=True)
        await status.registered.wait()
        self.ready.set()
        scope.spawn(csinode.initialize(self._client, config.node_name), name="CSINode")
        await asyncio.Event().wait()

    async def _synced(self, scope: Scope, status: NodeStatus) -> None:
        """Have the node registered from when the API server is there; return when its pods and Services are known."""
        await self._served.wait()
        scope.spawn(status.run(scope), name="node status")
        await self._pod_informer.wait_synced()
        await self._service_informer.wait_synced()

    def _services(self, scope: Scope, http: HttpCaller, status: NodeStatus) -> NodeServices:
        config, events = self.config, PodEvents(self._recorder)

        def current(pod: meta.Object) -> meta.Object | None:
            found = self._pod_informer.lister.get(meta.key_of(pod))
            return found if found is not None and podspec.stands_for(found, pod) else None

        return NodeServices(
            config=config,
            client=self._client,
            runtime=self._runtime,
            images=self._images,
            network=self._network,
            cgroups=self._cgroups,
            cache=RuntimeCache(self._runtime),
            volumes=VolumeManager(config, events),
            objects=ObjectCache(self._client, scope),
            tokens=TokenManager(self._client),
            host_ids=HostIds(config),
            puller=ImagePuller(self._images, events, backoff=config.image_backoff),
            hooks=HookRunner(self._runtime, http),
            checker=Checker(self._runtime, http),
            events=events,
            statuses=StatusManager(self._client, scope, current),
            services=self._service_informer.lister,
            hostname=socket.gethostname(),
            machine=self._machine,
            node_memory=self._machine.memory,
            allocatable=status.allocatable,
            pressure=lambda: status.pressure,
            node=lambda: self._node_informer.lister.get(config.node_name),
            starts=asyncio.Semaphore(config.max_parallel_starts),
            starting=self._starting,
        )


async def _nothing() -> list[tuple[meta.Object, ContainerStatus, Stats]]:
    return []


def _prepare_directories(config: KubeletConfig, cgroups: Cgroups | None, processors: int) -> None:
    """Make the node's directories; what holds secrets must be memory."""
    for directory in (config.root / "pods", config.run / "pods", config.log_root):
        directory.mkdir(parents=True, exist_ok=True)
    os.chmod(config.root, 0o711)
    secrets = config.run / "pods"
    if not linux.is_mount(str(secrets)) and os.geteuid() == 0:
        linux.mount("tmpfs", str(secrets), kind="tmpfs", flags=linux.MS_NOSUID | linux.MS_NODEV, data="mode=0711")
    if cgroups is not None:
        pod_cgroups.make_classes(config, cgroups, milli_cpu=processors * 1000)
