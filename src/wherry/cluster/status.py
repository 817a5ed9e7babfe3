"""``wherry status``: what runs, where, how large, and where to look when it does not."""

from dataclasses import dataclass
from typing import Any

from wherry import __version__
from wherry.api import meta
from wherry.cluster import process
from wherry.cluster.apiprobe import ApiProbe
from wherry.cluster.config import ClusterConfig
from wherry.cluster.process import Running
from wherry.kubelet.fake import LABEL


@dataclass(frozen=True, slots=True)
class Status:
    """One cluster at this moment; what needs the API server is None while it does not answer."""

    config: ClusterConfig
    processes: dict[str, Running | None]
    kubernetes_version: str | None
    runtime: str | None
    nodes: tuple[int, int] | None
    """Ready and all."""
    fake_nodes: int
    pods: dict[str, int] | None
    """Pods by phase."""

    @property
    def version(self) -> str:
        return __version__

    @property
    def memory(self) -> int:
        """Bytes that Wherry's own processes hold (containers not counted)."""
        return sum(p.memory for p in self.processes.values() if p is not None)


def status(config: ClusterConfig) -> Status:
    """Look at a cluster; nothing is changed."""
    processes = {name: process.find(name, config.paths) for name in (process.SERVER, process.NODE)}
    version = nodes = pods = None
    if processes[process.SERVER] is not None:
        probe = ApiProbe(config)
        version, nodes, pods = probe.get("/version"), probe.get("/api/v1/nodes"), probe.get("/api/v1/pods")
        probe.close()
    items = nodes["items"] if nodes else []
    return Status(
        config=config,
        processes=processes,
        kubernetes_version=version["gitVersion"] if version else None,
        runtime=_runtime(items, config.node_name),
        nodes=(sum(_ready(node) for node in items), len(items)) if nodes else None,
        fake_nodes=sum(meta.labels(node).get(LABEL) == "true" for node in items),
        pods=_phases(pods["items"]) if pods else None,
    )


def _runtime(nodes: list[dict[str, Any]], name: str) -> str | None:
    own = [node for node in nodes if meta.name(node) == name]
    return own[0]["status"].get("nodeInfo", {}).get("containerRuntimeVersion") if own else None


def _ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _phases(pods: list[dict[str, Any]]) -> dict[str, int]:
    phases: dict[str, int] = {}
    for pod in pods:
        phase = pod.get("status", {}).get("phase") or "Unknown"
        phases[phase] = phases.get(phase, 0) + 1
    return phases
