"""The node process of a cluster: ``python -m wherry.cluster.node --name NAME``.

Kubelet, Service proxy, DNS server and volume provisioner over the runtime, the images and the network of this machine.
It runs in a mount namespace of its own, which outlives it together with the containers.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import uvloop

from wherry.addons.localpath import LocalPathProvisioner
from wherry.addons.metrics import Counters, MetricsServer, Reading
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import NODES
from wherry.client import kubeconfig
from wherry.client.client import Client
from wherry.client.informer import InformerFactory
from wherry.cluster import addons, process, runtimes
from wherry.cluster import config as configs
from wherry.cluster.apiprobe import ApiProbe
from wherry.cluster.config import ClusterConfig, ClusterError, gateway
from wherry.cluster.imageapi import ImageAPI
from wherry.dns.forward import Forwarder, Upstreams
from wherry.dns.names import ClusterNames
from wherry.dns.server import DnsServer
from wherry.images.store import OverlayImageStore
from wherry.kubelet import configuration
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.configuration import ConfigurationError
from wherry.kubelet.kubelet import Kubelet
from wherry.kubelet.machine import Machine
from wherry.network.routed import RoutedNetwork
from wherry.proxy.proxy import Proxy
from wherry.runtime import mountns
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.crun import CrunRuntime
from wherry.runtime.handlers import Program
from wherry.runtime.protocol import ContainerError
from wherry.util import certificates, clock, interpreter
from wherry.util.log import configure
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_SERVER_POLL, _SERVER_AWAY_POLL = 0.02, 0.5
_SERVER_START = 10.0
"""Seconds after which a server that does not answer is away, rather than about to start."""
_THREADS = 16


def make_runtime(config: ClusterConfig, programs: Mapping[str, Program] | None = None) -> CrunRuntime:
    """Return the runtime of a cluster's node; `programs` are its handlers beside crun."""
    paths = config.paths
    return CrunRuntime(
        state_dir=str(paths.containers),
        run_dir=str(paths.run),
        cgroup_root=f"/wherry/{config.name}",
        programs=programs,
    )


def make_network(config: ClusterConfig) -> RoutedNetwork:
    """Return the pod network of a cluster's node."""
    return RoutedNetwork(config.name, config.node_pod_cidr, config.paths.run)


def kubelet_config(config: ClusterConfig) -> KubeletConfig:
    """Return the settings of the cluster's kubelet, with what ``kubelet.yaml`` sets. Raises ConfigurationError."""
    pki = config.paths.pki
    base = KubeletConfig(
        node_name=config.node_name,
        root=config.paths.state,
        run=config.paths.run,
        address=config.node_address,
        port=config.kubelet_port,
        socket=config.paths.kubelet_socket,
        client_ca=pki / "ca.crt",
        certificate=pki / "kubelet-serving.crt",
        key=pki / "kubelet-serving.key",
        cluster_dns=[config.dns_service_ip],
        cluster_domain=config.cluster_domain,
        cgroup_root=f"/wherry/{config.name}",
    )
    return configuration.load(config.paths.state / "kubelet.yaml", base)


async def run(config: ClusterConfig) -> None:
    """Run the node process until SIGTERM or SIGINT; containers and Services stay as they are."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Many of its threads wait for the kernel (mounts, namespaces), so there may be more of them than processors.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="blocking"))
    async with Scope() as scope:
        serving = scope.spawn(_serve(config), name="node")
        stopping = scope.spawn(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)


async def _serve(config: ClusterConfig) -> None:
    network = make_network(config)
    runtime = make_runtime(config, runtimes.load(config.paths.state / "runtimes.yaml"))
    images = OverlayImageStore(str(config.paths.images))
    async with AsyncExitStack() as stack:
        await asyncio.gather(network.start(), runtime.start(), _wait_files(config))
        served = asyncio.Event()
        stack.push_async_callback(runtime.close)
        node = await _client(stack, config, "kubelet")
        reader = await _client(stack, config, "kube-proxy")
        storage = await _client(stack, config, "local-path")
        scope = await stack.enter_async_context(Scope())
        node_informers, informers = InformerFactory(node), InformerFactory(reader)
        storage_informers = InformerFactory(storage)
        settings = kubelet_config(config)
        kubelet = Kubelet(
            settings,
            client=node,
            informers=node_informers,
            runtime=runtime,
            images=images,
            network=network,
            served=served,
            cgroups=Cgroups(),
        )
        proxy = Proxy(
            informers, config.node_name, cluster_name=config.name, pod_cidr=config.pod_cidr, gateway=network.gateway
        )
        names = ClusterNames(informers, domain=config.cluster_domain, server_address=config.dns_service_ip)
        # As a DNS server in a pod with the policy Default would: it asks whom the node asks.
        upstreams = Upstreams(settings.resolv_conf, exclude=[network.gateway, config.dns_service_ip])
        dns = DnsServer(names, Forwarder(upstreams))
        provisioner = LocalPathProvisioner(
            storage, storage_informers, node=config.node_name, directory=config.paths.volumes
        )
        machine = Machine()
        nodes = node_informers.informer(NODES, field_selector=f"metadata.name={config.node_name}")
        server = MetricsServer(
            lambda: _reading(kubelet, machine),
            lambda: nodes.lister.get(config.node_name),
            address=gateway(config.pod_cidr),
        )
        scope.spawn(kubelet.run(), name="kubelet")
        scope.spawn(proxy.run(), name="proxy")
        scope.spawn(provisioner.run(), name="local-path")
        scope.spawn(dns.run(gateway(config.pod_cidr)), name="dns")
        pki = config.paths.pki
        serving = server.run(
            certificate=pki / "kubelet-serving.crt",
            key=pki / "kubelet-serving.key",
            client_ca=pki / "front-proxy" / "ca.crt",
        )
        scope.spawn(serving, name="metrics", guard=True)
        image_api = ImageAPI(images, config.paths.node_socket)
        await image_api.start()
        stack.push_async_callback(image_api.stop)
        await _wait_found(config, "/version")
        served.set()
        node_informers.run(scope)
        await _wait_rights(config)
        for factory in (informers, storage_informers):
            factory.run(scope)
        await asyncio.gather(kubelet.ready.wait(), proxy.wait_programmed(), dns.started.wait())
        scope.spawn(certificates.follow(), name="certificates", guard=True)
        process.report_ready()
        interpreter.settle()
        await interpreter.give_back()


async def _reading(kubelet: Kubelet, machine: Machine) -> Reading:
    found: dict[str, tuple[Object, dict[tuple[str, str], Counters]]] = {}
    for pod, container, used in await kubelet.usage():
        _, containers = found.setdefault(meta.uid(pod), (pod, {}))
        containers[container.name, container.id] = Counters(cpu=used.cpu_usage, memory=used.memory_working_set)
    node = await asyncio.to_thread(machine.usage)
    return Reading(node=Counters(cpu=node.cpu_usage, memory=node.memory_working_set), pods=list(found.values()))


async def _client(stack: AsyncExitStack, config: ClusterConfig, user: str) -> Client:
    transport = await kubeconfig.load(config.paths.state / f"{user}.kubeconfig")
    stack.push_async_callback(transport.close)
    return Client(transport, field_manager=user)


async def _wait_files(config: ClusterConfig) -> None:
    """Wait for the node's certificates: both processes are started at once, and they are the server's to make."""
    while not ((config.paths.pki / "admin.key").exists() and config.paths.storage_kubeconfig.exists()):
        await clock.sleep(_SERVER_POLL)


async def _wait_rights(config: ClusterConfig) -> None:
    """Wait until the users of this node other than the kubelet have their rights, which a new server is still to give.

    The kubelet has its own from the node authorizer.
    """
    await _wait_found(config, addons.LAST_GRANT)


async def _wait_found(config: ClusterConfig, path: str) -> None:
    probe = ApiProbe(config)
    begun = clock.monotonic()
    try:
        while await asyncio.to_thread(probe.get, path) is None:
            await clock.sleep(_SERVER_POLL if clock.monotonic() - begun < _SERVER_START else _SERVER_AWAY_POLL)
    finally:
        probe.close()


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="wherry-node", description=__doc__)
    parser.add_argument("--name", required=True, help="the cluster")
    arguments = parser.parse_args()
    interpreter.prepare()
    configure()
    try:
        config = configs.load(arguments.name)
        if config is None:
            raise ClusterError(f"there is no cluster {arguments.name!r}")
        process.hold(process.NODE, config.paths)
        mountns.enter(str(config.paths.mount_namespace))
        uvloop.run(run(config))
    except (ClusterError, ConfigurationError, ContainerError, OSError) as error:
        sys.exit(f"wherry: {error}")


if __name__ == "__main__":
    main()
