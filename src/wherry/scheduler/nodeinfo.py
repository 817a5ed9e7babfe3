"""A node with what runs on it: sums are kept, never computed."""

from typing import NamedTuple

from wherry.api import meta
from wherry.api.meta import Object
from wherry.scheduler.podinfo import PodInfo, Port
from wherry.scheduler.resources import Amounts, amounts

_ANY = "0.0.0.0"


class Taint(NamedTuple):
    key: str
    value: str
    effect: str


class NodeInfo:
    """One node. `requested` sums what its pods ask for, `counted_*` what scoring counts of them.

    `hard_taints` keep pods away, `soft_taints` (PreferNoSchedule) only count against the node.
    """

    __slots__ = (
        "allocatable", "allowed_pods", "counted_cpu", "counted_memory", "hard_taints", "images", "labels", "name",
        "node", "pods", "ports", "requested", "soft_taints",
        "unschedulable",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Object | None = None
        self.labels: dict[str, str] = {}
        self.allocatable: Amounts = {}
        self.allowed_pods = 0
        self.unschedulable = False
        self.hard_taints: list[Taint] = []
        self.soft_taints: list[Taint] = []
        self.images: dict[str, int] = {}
        self.pods: dict[str, PodInfo] = {}
        self.requested: Amounts = {}
        self.counted_cpu = 0
        self.counted_memory = 0
        self.ports: dict[Port, int] = {}

    def set_node(self, node: Object) -> None:
        """Take the node's object."""
        spec, status = node.get("spec") or {}, node.get("status") or {}
        self.node = node
        self.labels = meta.labels(node)
        self.allocatable = amounts(status.get("allocatable"))
        self.allowed_pods = self.allocatable.pop("pods", 0)
        self.unschedulable = bool(spec.get("unschedulable"))
        taints = [Taint(t["key"], t.get("value") or "", t["effect"]) for t in spec.get("taints") or ()]
        self.hard_taints = [taint for taint in taints if taint.effect != "PreferNoSchedule"]
        self.soft_taints = [taint for taint in taints if taint.effect == "PreferNoSchedule"]
        images = status.get("images") or ()
        self.images = {name: image.get("sizeBytes", 0) for image in images for name in image.get("names") or ()}

    def add(self, info: PodInfo) -> None:
        """Add a pod."""
        shape = info.shape
        self.pods[info.key] = info
        for resource, value in shape.requests:
            self.requested[resource] = self.requested.get(resource, 0) + value
        self.counted_cpu += shape.counted_cpu
        self.counted_memory += shape.counted_memory
        for port in shape.ports:
            self.ports[port] = self.ports.get(port, 0) + 1

    def remove(self, info: PodInfo) -> None:
        """Remove a pod that was added."""
        shape = info.shape
        del self.pods[info.key]
        for resource, value in shape.requests:
            self.requested[resource] -= value
        self.counted_cpu -= shape.counted_cpu
        self.counted_memory -= shape.counted_memory
        for port in shape.ports:
            self.ports[port] -= 1
            if not self.ports[port]:
                del self.ports[port]

    def conflicts(self, wanted: Port) -> bool:
        """Tell whether a host port is taken; 0.0.0.0 stands for every address."""
        return any(
            port.number == wanted.number
            and port.protocol == wanted.protocol
            and (port.ip == wanted.ip or _ANY in (port.ip, wanted.ip))
            for port in self.ports
        )

    def clone(self) -> "NodeInfo":
        """Return a copy whose pods can be added and removed without changing this one."""
        other = NodeInfo(self.name)
        for name in NodeInfo.__slots__:
            value = getattr(self, name)
            setattr(other, name, value)
        for name in ("pods", "requested", "ports"):
            setattr(other, name, dict(getattr(self, name)))
        return other
