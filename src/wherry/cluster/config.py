"""One cluster's settings and where its files are. The settings are kept as ``cluster.json`` in its state directory."""

import dataclasses
import ipaddress
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

STATE_ROOT = Path("/var/lib/wherry")
RUN_ROOT = Path("/run/wherry")
LOG_ROOT = Path("/var/log/wherry")
BYTECODE_CACHE = Path("/var/cache/wherry/bytecode")

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
_NODE_PREFIX = 20
SUPPORTED_VERSIONS = ("1.36",)


class ClusterError(Exception):
    """Something a person can mend: the message is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one cluster: `state` survives a reboot, `run` does not."""

    name: str

    @property
    def state(self) -> Path:
        return STATE_ROOT / self.name

    @property
    def run(self) -> Path:
        return RUN_ROOT / self.name

    @property
    def logs(self) -> Path:
        return LOG_ROOT / self.name

    @property
    def config(self) -> Path:
        return self.state / "cluster.json"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def server(self) -> Path:
        return self.state / "server"

    @property
    def scheduler_config(self) -> Path:
        """The KubeSchedulerConfiguration of the cluster, where it has one."""
        return self.server / "scheduler.yaml"

    @property
    def kubelet_kubeconfig(self) -> Path:
        return self.state / "kubelet.kubeconfig"

    @property
    def containers(self) -> Path:
        """The runtime's records."""
        return self.state / "containers"

    @property
    def images(self) -> Path:
        return self.state / "images"

    @property
    def mount_namespace(self) -> Path:
        """The file that keeps the node process's mount namespace."""
        return self.run / "mnt" / "node"

    @property
    def proxy_kubeconfig(self) -> Path:
        return self.state / "kube-proxy.kubeconfig"

    @property
    def storage_kubeconfig(self) -> Path:
        return self.state / "local-path.kubeconfig"

    @property
    def volumes(self) -> Path:
        """Where the directories of local-path volumes are."""
        return self.state / "volumes"

    @property
    def node_socket(self) -> Path:
        """The Unix socket on which the node process takes ``wherry image`` commands."""
        return self.run / "node.sock"

    @property
    def kubelet_socket(self) -> Path:
        """The kubelet's API for the server of the same machine."""
        return self.run / "kubelet.sock"

    def pid_file(self, process: str) -> Path:
        return self.run / f"{process}.pid"

    def log_file(self, process: str) -> Path:
        return self.logs / f"{process}.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """What makes one cluster; chosen at the first ``wherry up`` and kept from then on.

    `index` numbers the clusters of this machine: it picks address ranges and default ports that do not collide.
    `legacy_apis` serves removed API versions too. `node_address` is the address that the node reports and that the API
    server's certificate names. `fake_nodes` may be changed while the cluster is stopped; pods on them are Ready
    `fake_delay` seconds after they were bound.
    """

    name: str
    index: int
    kubernetes_version: str
    api_port: int
    kubelet_port: int
    node_name: str
    node_address: str
    pod_cidr: str
    service_cidr: str
    cluster_domain: str = "cluster.local"
    legacy_apis: bool = False
    fake_nodes: int = 0
    fake_delay: float = 0.0

    @property
    def paths(self) -> Paths:
        return Paths(self.name)

    @property
    def server_url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def node_pod_cidr(self) -> str:
        """The part of the pod range that this machine's own pods have; other nodes have parts of the rest."""
        network = ipaddress.ip_network(self.pod_cidr)
        return str(next(network.subnets(new_prefix=max(_NODE_PREFIX, network.prefixlen))))

    @property
    def kubernetes_service_ip(self) -> str:
        """The first address of the Service range, as upstream gives it to ``default/kubernetes``."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def dns_service_ip(self) -> str:
        """The tenth address of the Service range, where clusters have their DNS by convention."""
        return str(ipaddress.ip_network(self.service_cidr)[10])

    @property
    def context(self) -> str:
        """The kubeconfig context: ``wherry``, of another cluster ``wherry-NAME``."""
        return "wherry" if self.name == "wherry" else f"wherry-{self.name}"

    def save(self) -> None:
        """Write ``cluster.json`` atomically."""
        self.paths.state.mkdir(parents=True, exist_ok=True, mode=0o711)
        partial = self.paths.config.with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")
        os.replace(partial, self.paths.config)


def load(name: str) -> ClusterConfig | None:
    """Return the saved settings of a cluster, None when it was never created.

    Raises ClusterError when the file cannot be understood.
    """
    path = Paths(name).config
    try:
        return ClusterConfig(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ClusterError(
            f"{path} is damaged ({error}); remove the cluster with 'wherry delete --name {name}'"
        ) from error


def existing() -> list[ClusterConfig]:
    """Return the settings of every cluster of this machine, by name."""
    if not STATE_ROOT.is_dir():
        return []
    found = (load(path.name) for path in sorted(STATE_ROOT.iterdir()) if path.is_dir())
    return [config for config in found if config is not None]


def check_name(name: str) -> None:
    """Raise ClusterError unless `name` can name a cluster."""
    if not NAME_PATTERN.fullmatch(name):
        raise ClusterError(
            f"the cluster name {name!r} is not allowed: use at most 20 lower-case letters, digits and '-', "
            "beginning and ending with a letter or digit"
        )


def ranges(index: int) -> tuple[str, str]:
    """Return the pod and the Service range of the cluster with number `index` on this machine."""
    return f"10.{244 - index}.0.0/16", f"10.{96 + index}.0.0/16"


def gateway(pod_cidr: str) -> str:
    """Return this machine's own address in a pod range."""
    return str(ipaddress.ip_network(pod_cidr)[1])
