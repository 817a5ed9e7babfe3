"""A pod that names its node runs there or nowhere."""

from wherry.scheduler.framework import Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo


class NodeName(Plugin):
    name = "NodeName"
    per_node = True

    def hints(self) -> dict[str, Hint | None]:
        return {"Node": lambda info, old, new: old is None}

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        wanted = info.pod["spec"].get("nodeName")
        if not wanted or wanted == node.name:
            return None
        return self.status(Code.UNRESOLVABLE, "node(s) didn't match the requested node name")
