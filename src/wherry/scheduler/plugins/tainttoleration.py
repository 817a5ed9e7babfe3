"""Taints keep pods away that do not tolerate them; PreferNoSchedule only counts against the node."""

from collections.abc import Sequence

from wherry.api.meta import Object
from wherry.scheduler.framework import SKIP, Code, CycleState, Hint, Plugin, Status, normalize_by_maximum
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo


class TaintToleration(Plugin):
    name = "TaintToleration"
    per_node = True

    def hints(self) -> dict[str, Hint | None]:
        def tolerable(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            taints = ((new or {}).get("spec") or {}).get("taints") or ()
            return new is not None and all(
                taint["effect"] == "PreferNoSchedule"
                or info.shape.tolerates(taint["key"], taint.get("value") or "", taint["effect"])
                for taint in taints
            )

        return {"Node": tolerable, "Pod": None}

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        for taint in node.hard_taints:
            if not info.shape.tolerates(*taint):
                return self.status(Code.UNRESOLVABLE, "node(s) had untolerated taint(s)")
        return None

    def pre_score(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> Status | None:
        # Without such taints every node gets the same score.
        return None if self.cache.soft_tainted else SKIP

    def score(self, state: CycleState, info: PodInfo, node: NodeInfo) -> int:
        soft = [t for t in info.shape.tolerations if t.effect in ("", "PreferNoSchedule")]
        return sum(not any(t.tolerates(*taint) for t in soft) for taint in node.soft_taints)

    def normalize(self, state: CycleState, info: PodInfo, scores: dict[str, int]) -> None:
        normalize_by_maximum(scores, reverse=True)
