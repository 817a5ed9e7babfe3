"""Cordoned nodes take only pods that tolerate it."""

from wherry.api.meta import Object
from wherry.scheduler.framework import Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo

_TAINT = "node.kubernetes.io/unschedulable"


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"
    per_node = True

    def hints(self) -> dict[str, Hint | None]:
        def uncordoned(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is not None and not (new.get("spec") or {}).get("unschedulable")

        return {"Node": uncordoned, "Pod": None}

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        if not node.unschedulable or info.shape.tolerates(_TAINT, "", "NoSchedule"):
            return None
        return self.status(Code.UNRESOLVABLE, "node(s) were unschedulable")
