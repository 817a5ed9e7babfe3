"""The server on real sockets of this machine, before a resolver of our own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from dnslib import QTYPE, RCODE, RR, TXT, A, DNSRecord

from wherry.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.dns import forward
from wherry.dns.forward import Forwarder, Upstreams
from wherry.dns.names import ClusterNames
from wherry.dns.server import DnsServer
from wherry.util.tasks import Scope

ADDRESS, PORT, RESOLVER_PORT = "127.0.0.1", 17753, 17754


class Resolver(asyncio.DatagramProtocol):
    """Knows example.org; its other names do not exist. Counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        response = self.respond(data, truncate=True)
        if not self.silent:
            self.transport.sendto(response, addr)

    def respond(self, data: bytes, *, truncate: bool) -> bytes:
        query = DNSRecord.parse(data)
        self.asked.append(str(query.q.qname))
        response = query.reply()
        if query.q.qname == "example.org":
            response.add_answer(RR("example.org", QTYPE.A, rdata=A("192.0.2.80"), ttl=60))
        elif query.q.qname == "long.example.org":
            for number in range(40):
                text = TXT(f"{number:03}" * 30)
                response.add_answer(RR("long.example.org", QTYPE.TXT, rdata=text, ttl=60))
            if truncate:
                response = response.truncate()
        else:
            response.header.rcode = RCODE.NXDOMAIN
        return bytes(response.pack())

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        packet = self.respond(data, truncate=False)
        writer.write(len(packet).to_bytes(2, "big") + packet)
        await writer.drain()
        writer.close()


@pytest.fixture
async def resolver(tmp_path: Path) -> AsyncIterator[Resolver]:
    resolver = Resolver()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: resolver, (ADDRESS, RESOLVER_PORT))
    listener = await asyncio.start_server(resolver.connected, ADDRESS, RESOLVER_PORT)
    (tmp_path / "resolv.conf").write_text(f"# a comment\nnameserver {ADDRESS}\noptions edns0\n")
    yield resolver
    transport.close()
    listener.close()


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[None]:
    api = FakeTransport()
    api.put({"metadata": {"name": "ns"}}, NAMESPACES)
    spec = {"type": "ExternalName", "externalName": "example.org"}
    api.put({"metadata": {"name": "out", "namespace": "ns"}, "spec": spec}, SERVICES)
    api.put({"metadata": {"name": "many", "namespace": "ns"}, "spec": {"clusterIP": "None"}}, SERVICES)
    endpoints = [{"addresses": [f"10.244.0.{n}"], "conditions": {"ready": True}} for n in range(2, 202)]
    api.put(
        {
            "metadata": {"name": "many-x", "namespace": "ns", "labels": {"kubernetes.io/service-name": "many"}},
            "addressType": "IPv4", "ports": [], "endpoints": endpoints,
        },
        ENDPOINTSLICES,
    )  # fmt: skip
    async with InformerFactory(Client(api)) as factory, Scope() as scope:
        names = ClusterNames(factory, server_address=ADDRESS)
        server = DnsServer(names, Forwarder(Upstreams(tmp_path / "resolv.conf"), port=RESOLVER_PORT))
        scope.spawn(server.run(ADDRESS, PORT))
        await server.started.wait()
        yield


async def ask(name: str, kind: str = "A", *, tcp: bool = False) -> DNSRecord:
    query = DNSRecord.question(name, kind)
    loop = asyncio.get_running_loop()
    packet: bytes = await loop.run_in_executor(None, lambda: query.send(ADDRESS, PORT, tcp=tcp, timeout=5))
    return DNSRecord.parse(packet)


async def test_forwards_other_names_and_remembers_the_answer(resolver: Resolver, tmp_path: Path) -> None:
    async with serving(tmp_path):
        for _ in range(2):
            response = await ask("example.org")
            assert [str(record.rdata) for record in response.rr] == ["192.0.2.80"]
        assert resolver.asked == ["example.org."]
        assert (await ask("absent.example.org")).header.rcode == RCODE.NXDOMAIN


async def test_an_external_name_brings_the_address_that_it_leads_to(resolver: Resolver, tmp_path: Path) -> None:
    async with serving(tmp_path):
        response = await ask("out.ns.svc.cluster.local")
        assert [str(record.rdata) for record in response.rr] == ["example.org.", "192.0.2.80"]


async def test_a_long_answer_is_cut_over_udp_and_whole_over_tcp(resolver: Resolver, tmp_path: Path) -> None:
    async with serving(tmp_path):
        for name, kind, count in (("many.ns.svc.cluster.local", "A", 200), ("long.example.org", "TXT", 40)):
            cut = await ask(name, kind)
            assert (cut.header.tc, cut.rr) == (1, [])
            assert len((await ask(name, kind, tcp=True)).rr) == count
        # The resolver's own truncated answer was fetched over TCP, once.
        assert resolver.asked.count("long.example.org.") == 2


async def test_without_a_resolver_other_names_fail_and_own_names_do_not(resolver: Resolver, tmp_path: Path) -> None:
    async with serving(tmp_path):
        (tmp_path / "resolv.conf").unlink()
        assert (await ask("example.org")).header.rcode == RCODE.SERVFAIL
        assert (await ask("absent.ns.svc.cluster.local")).header.rcode == RCODE.NXDOMAIN


async def test_a_resolver_that_is_silent_costs_a_bounded_wait_and_serves_again_when_it_speaks(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "_PATIENCE", 0.3)
    monkeypatch.setattr(forward, "_TIMEOUT", 0.1)
    (tmp_path / "resolv.conf").write_text(f"nameserver {ADDRESS}\n" * 5)
    async with serving(tmp_path):
        resolver.silent = True
        assert (await ask("example.org")).header.rcode == RCODE.SERVFAIL
        assert len(resolver.asked) <= 4
        assert (await ask("absent.ns.svc.cluster.local")).header.rcode == RCODE.NXDOMAIN
        resolver.silent = False
        assert (await ask("example.org")).header.rcode == RCODE.NOERROR


async def test_a_socket_that_is_lost_is_opened_again(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, opened, again = asyncio.get_running_loop(), [], asyncio.Event()
    real = loop.create_datagram_endpoint

    async def noted(*args: Any, **options: Any) -> Any:
        made = await real(*args, **options)
        if options.get("remote_addr") is None:
            opened.append(made[0])
            if len(opened) == 2:
                again.set()
        return made

    monkeypatch.setattr(loop, "create_datagram_endpoint", noted, raising=False)
    async with serving(tmp_path):
        opened[0].abort()
        async with asyncio.timeout(10):
            await again.wait()
        for tcp in (False, True):
            assert (await ask("example.org", tcp=tcp)).header.rcode == RCODE.NOERROR


async def test_until_the_clusters_names_are_known_they_fail_and_others_are_forwarded(
    resolver: Resolver, tmp_path: Path
) -> None:
    factory = InformerFactory(Client(FakeTransport()))  # whose server is away
    server = DnsServer(
        ClusterNames(factory, server_address=ADDRESS),
        Forwarder(Upstreams(tmp_path / "resolv.conf"), port=RESOLVER_PORT),
    )
    async with Scope() as scope:
        scope.spawn(server.run(ADDRESS, PORT))
        async with asyncio.timeout(10):
            while True:
                try:
                    found = await ask("some.ns.svc.cluster.local", tcp=True)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
        assert found.header.rcode == RCODE.SERVFAIL
        assert (await ask("example.org")).header.rcode == RCODE.NOERROR
        assert not server.started.is_set()
