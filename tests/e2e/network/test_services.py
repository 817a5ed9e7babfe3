"""Pods' namespaces and Services in the real kernel. Needs root; skipped otherwise."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.leaks import NETWORK
from wherry.api.resources import ENDPOINTSLICES, SERVICES
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.network import namespace
from wherry.network.nft import Nft
from wherry.network.protocol import Attachment, AttachOptions, NetworkError, PortMapping
from wherry.network.routed import RoutedNetwork
from wherry.proxy.proxy import Proxy, destroy

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

CLUSTER, NODE, CIDR, CLUSTER_IP, NODE_PORT = NETWORK, "node-a", "10.177.7.0/24", "10.177.8.1", 17777


class Server(threading.Thread):
    """Answers every TCP connection on port 80 of a pod with its name and the caller's address."""

    def __init__(self, attachment: Attachment) -> None:
        super().__init__(daemon=True)
        self.name = attachment.sandbox_id
        self._path = attachment.namespace_path
        self.listening = threading.Event()
        self._socket: socket.socket | None = None

    def run(self) -> None:
        with namespace.entered(self._path):
            self._socket = socket.create_server(("0.0.0.0", 80))
        self.listening.set()
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self._socket.accept()
                with connection:
                    connection.sendall(f"{self.name} {peer[0]}".encode())

    def stop(self) -> None:
        assert self._socket is not None
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.join()


def _ask(path: str | None, address: str, port: int) -> list[str]:
    """Return [server's name, the address that it saw], asked from the namespace at `path` (None: the host)."""
    with (
        namespace.entered(path) if path else contextlib.nullcontext(),
        socket.create_connection((address, port), timeout=0.5) as connection,
    ):
        return connection.makefile().read().split()


async def ask(source: Attachment | None, address: str, port: int) -> list[str]:
    with ThreadPoolExecutor(1) as own_thread:
        path = source.namespace_path if source else None
        return await asyncio.get_running_loop().run_in_executor(own_thread, _ask, path, address, port)


def service(**spec: Any) -> dict[str, Any]:
    port = {"name": "http", "protocol": "TCP", "port": 8080, "targetPort": 80, "nodePort": NODE_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "clusterIP": CLUSTER_IP, "clusterIPs": [CLUSTER_IP], "ports": [port], **spec},
    }


def slice_of(*addresses: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}, "nodeName": NODE} for address in addresses
        ],
    }


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[RoutedNetwork]:
    network = RoutedNetwork(CLUSTER, CIDR, tmp_path)
    await network.start()
    yield network
    await network.destroy()
    assert not [link for link in os.listdir("/sys/class/net") if link.startswith(network.prefix)]
    assert not _mounts(tmp_path)
    nft = Nft()
    assert not [name for _, name in await nft.list_tables() if CLUSTER in name]
    await nft.close()


@pytest.fixture
async def pods(network: RoutedNetwork) -> AsyncIterator[list[Attachment]]:
    pods = [await network.attach("pod-a", AttachOptions()), await network.attach("pod-b", AttachOptions())]
    servers = [Server(pod) for pod in pods]
    for server in servers:
        server.start()
        assert server.listening.wait(5)
    yield pods
    for server in servers:
        server.stop()


class Services:
    """A running proxy over a fake API."""

    def __init__(self, api: FakeTransport) -> None:
        self.api = api

    async def wait_until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not await condition():  # noqa: ASYNC110 - the condition is in the kernel, which tells nobody
                await asyncio.sleep(0.01)


@pytest.fixture
async def services(network: RoutedNetwork) -> AsyncIterator[Services]:
    api = FakeTransport()
    async with InformerFactory(Client(api)) as factory:
        proxy = Proxy(factory, NODE, cluster_name=CLUSTER, pod_cidr=CIDR, gateway=network.gateway)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(proxy.run())
            await proxy.wait_programmed()
            yield Services(api)
            running.cancel()
    await destroy(CLUSTER)


async def _refused(source: Attachment | None, port: int = 8080) -> bool:
    try:
        await ask(source, CLUSTER_IP, port)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


async def test_pods_and_host_reach_each_other_with_their_own_addresses(
    network: RoutedNetwork, pods: list[Attachment]
) -> None:
    a, b = pods
    assert await ask(a, b.addresses[0], 80) == ["pod-b", a.addresses[0]]
    assert await ask(None, b.addresses[0], 80) == ["pod-b", network.gateway]


async def test_a_service_is_reached_from_pods_from_itself_and_from_the_host(
    services: Services, network: RoutedNetwork, pods: list[Attachment]
) -> None:
    a, b = pods
    services.api.put(service(), SERVICES)
    services.api.put(slice_of(a.addresses[0]), ENDPOINTSLICES)
    await services.wait_until(lambda: _answers(b))
    assert await ask(b, CLUSTER_IP, 8080) == ["pod-a", b.addresses[0]]
    assert await ask(a, CLUSTER_IP, 8080) == ["pod-a", network.gateway]
    host = _host_address()
    for source, address, port in (
        (None, CLUSTER_IP, 8080), (None, "127.0.0.1", NODE_PORT), (None, host, NODE_PORT),
        (a, host, NODE_PORT), (b, host, NODE_PORT), (b, network.gateway, NODE_PORT),
    ):  # fmt: skip
        assert (await ask(source, address, port))[0] == "pod-a"
    with pytest.raises(OSError):  # the host's loopback is not the pods'
        await ask(b, "127.0.0.1", NODE_PORT)
    assert await _refused(b, 8081)

    services.api.put(slice_of(), ENDPOINTSLICES)
    await services.wait_until(lambda: _refused(b))
    assert await _refused(None)


async def test_affinity_keeps_a_client_at_one_endpoint_and_survives_a_new_proxy(
    services: Services, network: RoutedNetwork, pods: list[Attachment]
) -> None:
    a, b = pods
    services.api.put(service(sessionAffinity="ClientIP"), SERVICES)
    services.api.put(slice_of(a.addresses[0], b.addresses[0]), ENDPOINTSLICES)
    await services.wait_until(lambda: _answers(b))
    chosen = {(await ask(None, CLUSTER_IP, 8080))[0] for _ in range(12)}
    assert len(chosen) == 1
    async with InformerFactory(Client(services.api)) as factory:
        successor = Proxy(factory, NODE, cluster_name=CLUSTER, pod_cidr=CIDR, gateway=network.gateway)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(successor.run())
            await successor.wait_programmed()
            assert {(await ask(None, CLUSTER_IP, 8080))[0] for _ in range(12)} == chosen
            running.cancel()


async def test_external_traffic_policy_local_without_local_endpoints_drops(
    services: Services, pods: list[Attachment]
) -> None:
    a, b = pods
    remote = slice_of(a.addresses[0])
    remote["endpoints"][0]["nodeName"] = "elsewhere"
    services.api.put(service(externalTrafficPolicy="Local"), SERVICES)
    services.api.put(remote, ENDPOINTSLICES)
    await services.wait_until(lambda: _answers(b))
    # Whoever is in the cluster still reaches the endpoint of another node.
    assert (await ask(b, _host_address(), NODE_PORT))[0] == "pod-a"


def _udp_server(path: str, name: str) -> socket.socket:
    with namespace.entered(path):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", 53))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                _, peer = server.recvfrom(512)
                server.sendto(name.encode(), peer)

    threading.Thread(target=answer, daemon=True).start()
    return server


async def test_a_udp_client_that_never_reconnects_follows_the_endpoints(
    services: Services, network: RoutedNetwork
) -> None:
    pods = [await network.attach(name, AttachOptions()) for name in ("udp-a", "udp-b")]
    servers = [_udp_server(pod.namespace_path, pod.sandbox_id) for pod in pods]
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(0.2)
    client.connect((CLUSTER_IP, 53))
    loop = asyncio.get_running_loop()

    def ask_once() -> str:
        try:
            client.send(b"?")  # refused while the Service has no endpoints
            return client.recv(512).decode()
        except OSError:
            return ""

    async def answered_by(name: str) -> bool:
        return await loop.run_in_executor(None, ask_once) == name

    port = {"name": "http", "protocol": "UDP", "port": 53}
    services.api.put(service(type="ClusterIP", ports=[port]), SERVICES)
    for pod in pods:
        piece = slice_of(pod.addresses[0])
        piece["ports"] = [{"name": "http", "protocol": "UDP", "port": 53}]
        services.api.put(piece, ENDPOINTSLICES)
        await services.wait_until(lambda pod=pod: answered_by(pod.sandbox_id))
    client.close()
    for server in servers:
        server.close()


async def test_attachments_and_host_ports_are_adopted_by_the_next_process(
    network: RoutedNetwork, pods: list[Attachment], tmp_path: Path
) -> None:
    c = await network.attach("pod-c", AttachOptions(port_mappings=[PortMapping(17778, 80)]))
    server = Server(c)
    server.start()
    assert server.listening.wait(5)
    await network.close()
    network.__init__(CLUSTER, CIDR, tmp_path)  # type: ignore[misc]
    await network.start()
    assert {attachment.sandbox_id for attachment in network.attachments()} == {"pod-a", "pod-b", "pod-c"}
    assert await network.attach("pod-c", AttachOptions()) == c
    for source, address in (
        (None, "127.0.0.1"),
        (None, _host_address()),
        (c, _host_address()),
        (pods[0], _host_address()),
    ):
        assert (await ask(source, address, 17778))[0] == "pod-c"
    server.stop()
    await network.detach("pod-c")
    with pytest.raises(ConnectionRefusedError):
        await ask(None, "127.0.0.1", 17778)


async def _answers(source: Attachment) -> bool:
    try:
        await ask(source, CLUSTER_IP, 8080)
    except OSError:
        return False
    return True


def _mounts(below: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(below) in line]


def _host_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.254", 9))  # sends nothing
        return str(sock.getsockname()[0])


async def test_an_attachment_that_fails_leaves_nothing(network: RoutedNetwork, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        await network.attach("broken", AttachOptions(sysctls={"net.ipv4.no_such_setting": "1"}))
    taken = AttachOptions(port_mappings=[PortMapping(17779, 80)])
    await network.attach("first", taken)
    with pytest.raises(NetworkError, match="17779/TCP"):
        await network.attach("second", taken)
    assert [attachment.sandbox_id for attachment in network.attachments()] == ["first"]
    assert _names(tmp_path / "netns") == _names(tmp_path / "network") == ["first"]


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
