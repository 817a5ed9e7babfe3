"""Two pods cannot have the same host port on one node."""

from wherry.api.meta import Object
from wherry.scheduler.framework import SKIP, Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo, shape_of


class NodePorts(Plugin):
    name = "NodePorts"
    per_node = True

    def hints(self) -> dict[str, Hint | None]:
        def frees_ports(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is None and old is not None and bool(shape_of(old["spec"]).ports)

        return {"AssignedPod": frees_ports, "Node": lambda info, old, new: old is None}

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | None:
        return None if info.shape.ports else SKIP

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        if not any(node.conflicts(port) for port in info.shape.ports):
            return None
        return self.status(Code.UNSCHEDULABLE, "node(s) didn't have free ports for the requested pod ports")
