"""What the proxy tells nftables, and when."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from wherry.api.meta import Object
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.network.nft import NftError
from wherry.proxy import proxy
from wherry.util import virtualtime
from wherry.util.tasks import Scope


class FakeNft:
    """Keeps the scripts; `during` is called once, while the first one is carried out; the first `refusals` fail."""

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.during: Callable[[], Any] | None = None
        self.refusals = 0

    async def run(self, script: str) -> None:
        await asyncio.sleep(0.01)
        during, self.during = self.during, None
        if during is not None:
            during()
        await asyncio.sleep(0.01)
        if self.refusals:
            self.refusals -= 1
            raise NftError("busy")
        self.scripts.append(script)

    async def list_table(self, family: str, table: str) -> list[dict[str, Any]]:
        return []

    async def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def nft(monkeypatch: pytest.MonkeyPatch) -> FakeNft:
    made = FakeNft()
    monkeypatch.setattr(proxy, "Nft", lambda: made)
    monkeypatch.setattr(proxy, "delete_flows", lambda protocol, is_stale: None)
    return made


def service(name: str, ip: str) -> Object:
    ports = [{"port": 80, "targetPort": 80, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "d"}, "spec": spec}


def run(transport: FakeTransport) -> None:
    """Let a proxy of this API run for a while."""

    async def main() -> None:
        factory = InformerFactory(Client(transport))
        running = proxy.Proxy(factory, "n", cluster_name="c", pod_cidr="10.244.0.0/16", gateway="10.244.0.1")
        async with Scope() as scope:
            factory.run(scope)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(60):
                    await running.run()

    virtualtime.run(main())


@pytest.mark.parametrize("refusals", [0, 1])
def test_a_service_that_comes_while_the_kernel_is_programmed_is_programmed_next(nft: FakeNft, refusals: int) -> None:
    transport = FakeTransport(service("early", "10.96.0.1"))
    nft.during = lambda: transport.put(service("late", "10.96.0.2"))
    nft.refusals = refusals
    run(transport)
    assert "10.96.0.1" in nft.scripts[0]
    assert "10.96.0.2" in "".join(nft.scripts)


@pytest.mark.parametrize("label", ["service-proxy-name", "headless"])
def test_a_service_that_is_no_business_of_this_proxy_is_left_alone(nft: FakeNft, label: str) -> None:
    theirs = service("theirs", "10.96.0.2")
    theirs["metadata"]["labels"] = {f"service.kubernetes.io/{label}": ""}
    run(FakeTransport(service("ours", "10.96.0.1"), theirs))
    told = "".join(nft.scripts)
    assert "10.96.0.1" in told and "10.96.0.2" not in told
