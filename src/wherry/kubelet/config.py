"""The settings of one kubelet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_EVICTION_HARD: Mapping[str, str] = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "pid.available": "5%",
}


LOG_ROOT = Path("/var/log/pods")
"""Where log shippers expect the logs of pods; other clusters of the machine have theirs there, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletConfig:
    """Fixed for the life of the process. Times are in seconds, sizes in bytes.

    `root` keeps what survives a reboot (``pods/UID``), `run` what must not (secrets; a tmpfs). `address` is the node's
    own address; thresholds are by eviction signal (`pressure.SIGNALS`); `client_ca`, `certificate` and `key` are PEM
    files of the node's HTTPS API, None serves no API; on `socket`, which only its owner may open, it is served without.
    """

    node_name: str
    root: Path
    run: Path
    log_root: Path = LOG_ROOT
    address: str = "127.0.0.1"
    port: int = 10250
    listen: str = "0.0.0.0"
    socket: Path | None = None
    client_ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    cluster_dns: Sequence[str] = ()
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    cgroup_root: str = "/wherry/wherry"
    kubernetes_version: str = "v1.36.2"
    node_labels: dict[str, str] = field(default_factory=dict)
    max_pods: int = 110
    pod_pids_limit: int = -1
    max_parallel_starts: int = 8
    crash_backoff: tuple[float, float] = (10.0, 300.0)
    image_backoff: tuple[float, float] = (10.0, 300.0)
    lease_duration: int = 40
    lease_period: float = 10.0
    status_period: float = 300.0
    pressure_period: float = 10.0
    log_max_size: int = 10 * 1024 * 1024
    log_max_files: int = 5
    dead_containers: int = 1
    image_gc_high_percent: int = 85
    image_gc_low_percent: int = 80
    image_minimum_age: float = 120.0
    image_maximum_age: float = 0.0
    eviction_hard: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_EVICTION_HARD))
    eviction_soft: Mapping[str, str] = field(default_factory=dict)
    eviction_soft_grace: Mapping[str, float] = field(default_factory=dict)
    eviction_max_pod_grace: float = 0.0
    eviction_minimum_reclaim: Mapping[str, str] = field(default_factory=dict)
    pressure_transition: float = 300.0
    static_pod_path: Path | None = None
    allowed_sysctls: Sequence[str] = ()

    @property
    def log_links(self) -> Path:
        """The directory of links to the logs of all containers of the machine."""
        return log_links(self.log_root)

    @property
    def manifests(self) -> Path:
        """The directory whose manifests are this node's static pods."""
        return self.static_pod_path or self.root / "manifests"

    def pod_directory(self, uid: str) -> Path:
        """Return the directory that holds a pod's volumes, hosts file and termination messages."""
        return self.root / "pods" / uid

    def pod_run_directory(self, uid: str) -> Path:
        """Return the pod's directory in memory, for secrets and tokens."""
        return self.run / "pods" / uid

    def log_directory(self, namespace: str, name: str, uid: str) -> Path:
        """Return the pod's log directory in Kubernetes' layout."""
        return self.log_root / f"{namespace}_{name}_{uid}"


def log_links(root: Path) -> Path:
    """Return the directory of links to the logs that are below `root`."""
    return root.parent / "containers"
