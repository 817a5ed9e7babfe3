"""The server process of a cluster: ``python -m wherry.cluster.server --name NAME``.

Without a cluster, for trying out and comparing: ``--data-dir D --port P --token T [--memory]`` serves the control plane
on 127.0.0.1, with one token for an administrator.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from wherry.apiserver.attributes import MASTERS_GROUP, UserInfo
from wherry.apiserver.authn.filetokens import FAMILIES as FILE_TOKENS_FAMILIES
from wherry.apiserver.authn.filetokens import FileTokens
from wherry.apiserver.authn.token import TokenAuthenticator
from wherry.apiserver.authn.tokenfile import TokenFile
from wherry.apiserver.relay import Near
from wherry.apiserver.server import ServerOptions
from wherry.cluster import addons, credentials, preflight, process
from wherry.cluster import config as configs
from wherry.cluster.config import ClusterConfig, ClusterError
from wherry.cluster.controlplane import ControlPlane
from wherry.cluster.credentials import Credentials
from wherry.controllers.controller import Settings
from wherry.kubelet.fake import FakeConfig
from wherry.scheduler import configfile
from wherry.scheduler.profile import SchedulerConfig
from wherry.store.encryption import Sealer
from wherry.store.memory import MemoryStore
from wherry.store.protocol import Store
from wherry.store.sqlite import SQLiteStore
from wherry.util import certificates, interpreter
from wherry.util.log import configure
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)


def options(config: ClusterConfig, made: Credentials, *, host: str = "0.0.0.0") -> ServerOptions:
    """Return how the API server of a cluster serves."""
    return ServerOptions(
        host=host,
        port=config.api_port,
        address=config.node_address,
        certificate=made.serving.certificate,
        key=made.serving.key,
        client_ca=made.authority.certificate,
        kubelet_certificate=made.kubelet_client.certificate,
        kubelet_key=made.kubelet_client.key,
        kubelet_ca=made.authority.certificate,
        near_kubelet=Near(config.node_address, config.kubelet_port, config.paths.kubelet_socket),
        service_cidr=config.service_cidr,
        kubernetes_version=config.kubernetes_version,
        legacy_apis=config.legacy_apis,
        front_proxy_certificate=made.front_proxy.certificate,
        front_proxy_key=made.front_proxy.key,
        front_proxy_ca=made.front_proxy_ca,
    )


async def serve(
    store: Store,
    served: ServerOptions,
    made: Credentials,
    *,
    cluster: ClusterConfig | None = None,
    tokens: Sequence[TokenAuthenticator] = (),
    fake: FakeConfig | None = None,
    scheduling: SchedulerConfig | None = None,
) -> None:
    """Run the control plane until SIGTERM or SIGINT, with the addons of `cluster` where there is one."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings = Settings()
    if cluster is not None:
        ranges = {cluster.node_name: cluster.node_pod_cidr}
        settings = Settings(cluster_cidr=cluster.pod_cidr, node_cidrs=ranges)
    try:
        async with ControlPlane(
            store, served, made, tokens=tokens, fake=fake, scheduling=scheduling, settings=settings
        ) as plane:
            if cluster is not None:
                await addons.publish(plane.admin, cluster)
            process.report_ready()
            interpreter.settle()
            async with Scope() as scope:
                scope.spawn(interpreter.give_back(), name="memory", guard=True)
                scope.spawn(certificates.follow(), name="certificates", guard=True)
                for one in tokens:
                    if isinstance(one, FileTokens):
                        plane.metrics.add(one.samples, FILE_TOKENS_FAMILIES)
                        scope.spawn(one.follow(), name="authentication.yaml", guard=True)
                if cluster is not None:
                    scope.spawn(credentials.keep(cluster), name="credentials", guard=True)
                await stop.wait()
    finally:
        await store.close()


async def run_cluster(config: ClusterConfig) -> None:
    """Run the server process of a cluster.

    Files that a person may put into its directory, in Kubernetes' own formats: ``audit-policy.yaml`` (Policy),
    ``encryption.yaml`` (EncryptionConfiguration), ``authentication.yaml`` (AuthenticationConfiguration, followed),
    ``scheduler.yaml`` (KubeSchedulerConfiguration; ``wherry up --scheduler-config`` puts it there).
    """
    made = credentials.ensure(config)
    config.paths.server.mkdir(parents=True, exist_ok=True, mode=0o700)
    served = options(config, made)
    if (policy := config.paths.server / "audit-policy.yaml").exists():
        served.audit_policy, served.audit_log = policy, config.paths.logs / "audit.log"
    sealer = None
    if (encryption := config.paths.server / "encryption.yaml").exists():
        sealer = Sealer.load(encryption)
    tokens: list[FileTokens] = []
    if (authentication := config.paths.server / "authentication.yaml").exists():
        tokens = [await asyncio.to_thread(FileTokens, authentication)]
        read = tokens[0].configuration
        served.anonymous, served.anonymous_paths = read.anonymous, read.anonymous_paths
    scheduling = _scheduling(config)
    store = SQLiteStore(config.paths.server / "state.db", sealer=sealer)
    fake = fake_config(config)
    await serve(store, served, made, cluster=config, tokens=tokens, fake=fake, scheduling=scheduling)


def _scheduling(config: ClusterConfig) -> SchedulerConfig | None:
    if not config.paths.scheduler_config.exists():
        return None
    try:
        return configfile.load(config.paths.scheduler_config)
    except configfile.ConfigurationError as error:
        raise ClusterError(str(error)) from error


def fake_config(config: ClusterConfig) -> FakeConfig:
    """Return the settings of a cluster's fake nodes."""
    return FakeConfig(
        count=config.fake_nodes, delay=config.fake_delay, address=config.node_address, port=config.kubelet_port
    )


async def run_alone(
    *, data_dir: Path, port: int, token: str, memory: bool, fake_nodes: int = 0, fake_delay: float = 0.0
) -> None:
    """Run a control plane that belongs to no cluster."""
    configs.STATE_ROOT = data_dir
    pods, services = configs.ranges(0)
    config = ClusterConfig(
        name="alone",
        index=0,
        kubernetes_version=configs.SUPPORTED_VERSIONS[-1],
        api_port=port,
        kubelet_port=10250,
        node_name="alone",
        # The address is published as an endpoint, which a loopback address cannot be.
        node_address=preflight.node_address(configs.gateway(pods)),
        pod_cidr=pods,
        service_cidr=services,
    )
    made = credentials.ensure(config)
    store: Store = MemoryStore() if memory else SQLiteStore(data_dir / "state.db")
    tokens = [TokenFile([(token, UserInfo("admin", (MASTERS_GROUP,), "admin"))])]
    fake = FakeConfig(count=fake_nodes, delay=fake_delay, address=config.node_address)
    await serve(store, options(config, made, host="127.0.0.1"), made, tokens=tokens, fake=fake)


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="wherry-server", description=__doc__)
    parser.add_argument("--name", help="the cluster")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--port", type=int, default=6443)
    parser.add_argument("--token")
    parser.add_argument("--memory", action="store_true", help="keep nothing on disk")
    parser.add_argument("--fake-nodes", type=int, default=0, metavar="N", help="keep N nodes without machines")
    parser.add_argument("--fake-delay", type=float, default=0.0, metavar="SECONDS", help="until their pods are Ready")
    arguments = parser.parse_args()
    interpreter.prepare()
    configure()
    if arguments.name is None:
        if arguments.data_dir is None or arguments.token is None:
            parser.error("--name, or --data-dir and --token, must be given")
        arguments.data_dir.mkdir(parents=True, exist_ok=True)
        chosen = {
            key: getattr(arguments, key) for key in ("data_dir", "port", "token", "memory", "fake_nodes", "fake_delay")
        }
        uvloop.run(run_alone(**chosen))
        return
    try:
        config = configs.load(arguments.name)
        if config is None:
            raise ClusterError(f"there is no cluster {arguments.name!r}")
        process.hold(process.SERVER, config.paths)
        uvloop.run(run_cluster(config))
    except (ClusterError, OSError) as error:
        sys.exit(f"wherry: {error}")


if __name__ == "__main__":
    main()
