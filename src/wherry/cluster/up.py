"""``wherry up``: bring a cluster to the point where it can be used, showing each step with its time.

Idempotent: what runs already is left alone; what is missing is started from the saved state.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wherry.api import meta
from wherry.cluster import config as configs
from wherry.cluster import kubeconfig, preflight, process
from wherry.cluster.apiprobe import ApiProbe
from wherry.cluster.config import ClusterConfig, ClusterError
from wherry.cluster.files import KeyPair
from wherry.kubelet import fake
from wherry.scheduler import configfile
from wherry.util import clock

Report = Callable[[str, float], None]
"""Called with each finished step and the seconds that it took."""

_SERVER_PATIENCE = 60.0
_NODE_PATIENCE = 120.0
_POLL = 0.01
_FAKE_POLL = 0.1
_NOT_READY = "node.kubernetes.io/not-ready"
_CHANGEABLE = {"fake_nodes", "fake_delay"}
_API_PORT, _KUBELET_PORT = 6443, 10250


class Options:
    """What a person may choose; None takes the saved value, or a default at the first start."""

    def __init__(
        self,
        *,
        kubernetes_version: str | None = None,
        api_port: int | None = None,
        kubelet_port: int | None = None,
        node_name: str | None = None,
        legacy_apis: bool | None = None,
        fake_nodes: int | None = None,
        fake_delay: float | None = None,
    ) -> None:
        self.kubernetes_version = kubernetes_version
        self.api_port = api_port
        self.kubelet_port = kubelet_port
        self.node_name = node_name
        self.legacy_apis = legacy_apis
        self.fake_nodes = fake_nodes
        self.fake_delay = fake_delay


def up(
    name: str, options: Options, report: Report, *, scheduler_config: Path | None = None
) -> tuple[ClusterConfig, bool]:
    """Start the cluster `name` and return its settings and whether anything had to be started.

    `scheduler_config` is a KubeSchedulerConfiguration that the cluster keeps from now on. Returns when the node is
    Ready and namespace ``default`` has its service account. Raises ClusterError.
    """
    configs.check_name(name)
    preflight.check_root()
    with process.exclusive():
        found = configs.load(name)
        config = _settled(found, name, options)
        if scheduler_config is not None:
            _take_scheduler_config(config, scheduler_config)
        running = {p for p in (process.SERVER, process.NODE) if process.find(p, config.paths)}
        if len(running) == 2 and _usable(config):
            _merge_kubeconfig(config)
            return config, False
        _start(config, running, report, fakes=bool(config.fake_nodes) or options.fake_nodes is not None)
        return config, True


def _take_scheduler_config(config: ClusterConfig, file: Path) -> None:
    """Copy a KubeSchedulerConfiguration into the cluster's state. Raises ClusterError."""
    kept = config.paths.scheduler_config
    try:
        configfile.load(file)
        wanted = file.read_bytes()
        if kept.exists() and kept.read_bytes() == wanted:
            return
        if process.find(process.SERVER, config.paths):
            raise ClusterError(
                f"cluster {config.name!r} runs: its scheduler may change after 'wherry down --name {config.name}'"
            )
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept.write_bytes(wanted)
    except (configfile.ConfigurationError, OSError) as error:
        raise ClusterError(f"the scheduler's configuration cannot be used: {error}") from error


def _settled(found: ClusterConfig | None, name: str, options: Options) -> ClusterConfig:
    if found is None:
        config = _first(name, options)
        preflight.check_machine()
        preflight.check_ports(config)
        config.save()
        return config
    chosen: dict[str, Any] = {
        field: value for field, value in vars(options).items() if value is not None and value != getattr(found, field)
    }
    if chosen and chosen.keys() <= _CHANGEABLE:
        if process.find(process.SERVER, found.paths):
            raise ClusterError(f"cluster {name!r} runs: its fake nodes may change after 'wherry down --name {name}'")
        changed = dataclasses.replace(found, **chosen)
        changed.save()
        return changed
    if chosen:
        words = ", ".join(f"{field.replace('_', ' ')} {getattr(found, field)}" for field in chosen)
        raise ClusterError(
            f"cluster {name!r} exists with {words}, which is settled at its first start: "
            f"remove it first with 'wherry delete --name {name}'"
        )
    return found


def _first(name: str, options: Options) -> ClusterConfig:
    others = configs.existing()
    index = next(i for i in range(100) if all(c.index != i for c in others))
    pod_cidr, service_cidr = configs.ranges(index)
    version = options.kubernetes_version or configs.SUPPORTED_VERSIONS[-1]
    if version not in configs.SUPPORTED_VERSIONS:
        raise ClusterError(
            f"Kubernetes version {version!r} is not supported: choose one of {', '.join(configs.SUPPORTED_VERSIONS)}"
        )
    return ClusterConfig(
        name=name,
        index=index,
        kubernetes_version=version,
        api_port=options.api_port or _free_port(_API_PORT, {c.api_port for c in others}, first=not others),
        kubelet_port=options.kubelet_port
        or _free_port(_KUBELET_PORT, {c.kubelet_port for c in others}, first=not others),
        node_name=options.node_name or name,
        node_address=preflight.node_address(configs.gateway(pod_cidr)),
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        legacy_apis=bool(options.legacy_apis),
        fake_nodes=options.fake_nodes or 0,
        fake_delay=options.fake_delay or 0.0,
    )


def _free_port(wanted: int, taken: set[int], *, first: bool) -> int:
    """Return `wanted`, beside other clusters the next port above it that is free."""
    if first:
        return wanted
    return next(p for p in range(wanted, wanted + 1000) if p not in taken and preflight.port_is_free(p))


def _start(config: ClusterConfig, running: set[str], report: Report, *, fakes: bool) -> None:
    if process.SERVER not in running:
        preflight.check_machine()
        preflight.check_port(config.api_port, "the API server", "--api-port")
    arguments = ["--name", config.name]
    with _step("API server", report):
        started = {
            name: process.start(name, config.paths, arguments)
            for name in (process.SERVER, process.NODE)
            if name not in running
        }
        if process.SERVER in started:
            started[process.SERVER].wait_ready(_SERVER_PATIENCE)
    with _step("kubeconfig", report):
        _merge_kubeconfig(config)
    with _step("node process", report):
        if process.NODE in started:
            started[process.NODE].wait_ready(_NODE_PATIENCE)
    with _step("node Ready", report):
        _wait_usable(config)
    if fakes:
        with _step("fake nodes", report):
            _wait_fake_nodes(config)


def _merge_kubeconfig(config: ClusterConfig) -> None:
    pki = config.paths.pki
    entries = kubeconfig.entries(config, pki / "ca.crt", KeyPair(pki / "admin.crt", pki / "admin.key"))
    kubeconfig.merge(kubeconfig.user_path(), entries)


def _wait_usable(config: ClusterConfig) -> None:
    def missing(probe: ApiProbe) -> str:
        usable = _node_ready(probe, config) and _account_exists(probe)
        return "" if usable else f"the node did not become Ready in {_NODE_PATIENCE:.0f} s"

    _wait(config, missing, process.NODE, _POLL)


def _wait_fake_nodes(config: ClusterConfig) -> None:
    def missing(probe: ApiProbe) -> str:
        wanted, (ready, all_) = config.fake_nodes, _fake_nodes(probe)
        if all_ > wanted:
            return f"{all_ - wanted} fake nodes are still to be removed"
        return "" if ready == wanted else f"only {ready} of {wanted} fake nodes became Ready"

    _wait(config, missing, process.SERVER, _FAKE_POLL)


def _wait(config: ClusterConfig, missing: Callable[[ApiProbe], str], concerned: str, poll: float) -> None:
    """Ask every `poll` seconds until nothing is `missing`. Raises ClusterError with that and the log of `concerned`."""
    probe = ApiProbe(config)
    deadline = clock.monotonic() + _NODE_PATIENCE
    try:
        while found := missing(probe):
            if clock.monotonic() > deadline:
                raise ClusterError(f"{found}; see {config.paths.log_file(concerned)}")
            clock.block(poll)
    finally:
        probe.close()


def _fake_nodes(probe: ApiProbe) -> tuple[int, int]:
    """Count the fake nodes that take pods or that a person took away (they are not waited for), and all."""
    found = probe.get(f"/api/v1/nodes?labelSelector={quote(fake.LABEL)}%3Dtrue")
    nodes = found["items"] if found else []
    return sum(_takes_pods(n) or meta.annotations(n).get(fake.VANISHED) == "true" for n in nodes), len(nodes)


def _usable(config: ClusterConfig) -> bool:
    probe = ApiProbe(config)
    try:
        return _node_ready(probe, config) and _account_exists(probe)
    finally:
        probe.close()


def _node_ready(probe: ApiProbe, config: ClusterConfig) -> bool:
    """Tell whether the node is Ready and takes pods: the taint of a node that is not goes a moment after that."""
    node = probe.get(f"/api/v1/nodes/{config.node_name}")
    return node is not None and _takes_pods(node)


def _takes_pods(node: meta.Object) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    taints = node["spec"].get("taints") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) and not any(
        taint["key"] == _NOT_READY for taint in taints
    )


def _account_exists(probe: ApiProbe) -> bool:
    return probe.get("/api/v1/namespaces/default/serviceaccounts/default") is not None


@contextlib.contextmanager
def _step(name: str, report: Report) -> Iterator[None]:
    began = clock.monotonic()
    yield
    report(name, clock.monotonic() - began)
