"""The certificates of a cluster that runs for years."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from wherry.cluster import config as configs
from wherry.cluster import credentials
from wherry.cluster.config import ClusterConfig
from wherry.util import certificates, clock, virtualtime
from wherry.util.tasks import Scope

_DAY = 86_400.0


def make(name: str = "c") -> ClusterConfig:
    pods, services = configs.ranges(0)
    return ClusterConfig(
        name=name, index=0, kubernetes_version=configs.SUPPORTED_VERSIONS[-1], api_port=1, kubelet_port=2,
        node_name="n", node_address="192.0.2.1", pod_cidr=pods, service_cidr=services,
    )  # fmt: skip


def ends(path: Path) -> float:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()


def test_no_certificate_of_a_running_cluster_ends_in_three_years(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configs, "STATE_ROOT", tmp_path)
    config = make()

    async def at_once(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", at_once)  # virtual time waits for no thread

    async def main() -> None:
        made = credentials.ensure(config)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificates.load_chain(context, made.serving.certificate, made.serving.key)
        leaves = [path for path in config.paths.pki.rglob("*.crt") if path.name != "ca.crt"]
        assert len(leaves) >= 8
        renewed = []
        async with Scope() as scope:
            scope.spawn(credentials.keep(config))
            for _ in range(36):
                await clock.sleep(30 * _DAY)
                assert all(ends(path) > clock.seconds() + 20 * _DAY for path in leaves)
                renewed += certificates.load_renewed()
        assert renewed.count(str(made.serving.certificate)) == 3

    virtualtime.run(main())


def test_the_node_process_presents_its_certificates_from_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configs, "STATE_ROOT", tmp_path)
    config = make()
    credentials.ensure(config)
    (user,) = yaml.safe_load(config.paths.kubelet_kubeconfig.read_text())["users"]
    pki = config.paths.pki
    assert user["user"] == {"client-certificate": f"{pki}/kubelet.crt", "client-key": f"{pki}/kubelet.key"}
