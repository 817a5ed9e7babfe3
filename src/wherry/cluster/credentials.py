"""The certificates and kubeconfigs of one cluster's components."""

import asyncio
import logging
import socket
from dataclasses import dataclass
from pathlib import Path

from wherry.addons import localpath
from wherry.cluster import kubeconfig
from wherry.cluster.config import ClusterConfig
from wherry.cluster.files import KeyPair
from wherry.cluster.pki import Authority, service_account_key
from wherry.util import clock

log = logging.getLogger(__name__)

_EVERY = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of the server process (PEM)."""

    authority: KeyPair
    serving: KeyPair
    kubelet_client: KeyPair
    service_account_key: Path
    front_proxy_ca: Path
    front_proxy: KeyPair


def ensure(config: ClusterConfig) -> Credentials:
    """Make what is missing or ends soon, write the kubeconfigs of the node process, and return the server's files."""
    authority = Authority(config.paths.pki)
    serving = authority.server("apiserver", _names(config))
    kubelet_client = authority.client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
    authority.client("admin", "kubernetes-admin", ["system:masters"])
    authority.server("kubelet-serving", [config.node_name, config.node_address])
    node = authority.client("kubelet", f"system:node:{config.node_name}", ["system:nodes"])
    proxy = authority.client("kube-proxy", "system:kube-proxy", [])
    storage = authority.client("local-path", localpath.USER, [])
    for path, pair in (
        (config.paths.kubelet_kubeconfig, node),
        (config.paths.proxy_kubeconfig, proxy),
        (config.paths.storage_kubeconfig, storage),
    ):
        kubeconfig.write(path, kubeconfig.entries(config, authority.files.certificate, pair, embed=False))
    front = Authority(config.paths.pki / "front-proxy")
    return Credentials(
        authority.files,
        serving,
        kubelet_client,
        service_account_key(config.paths.pki),
        front.files.certificate,
        front.client("client", "front-proxy-client", []),
    )


async def keep(config: ClusterConfig) -> None:
    """Renew what ends soon, every week; both processes load it as `util.certificates` does."""
    while True:
        await clock.sleep(_EVERY)
        try:
            await asyncio.to_thread(ensure, config)
        except OSError as error:
            log.warning("cannot renew certificates: %s", error)


def _names(config: ClusterConfig) -> list[str]:
    service = "kubernetes.default.svc"
    return [
        "kubernetes",
        "kubernetes.default",
        service,
        f"{service}.{config.cluster_domain}",
        "localhost",
        config.node_name,
        socket.gethostname(),
        "127.0.0.1",
        config.node_address,
        config.kubernetes_service_ip,
    ]
