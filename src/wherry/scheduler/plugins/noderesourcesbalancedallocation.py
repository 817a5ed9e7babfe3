"""Prefers nodes whose resources would be used evenly."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

from wherry.scheduler.framework import MAX_SCORE, SKIP, CycleState, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"
    per_node = True

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None) -> None:
        super().__init__(cache, arguments)
        listed = self.arguments.get("resources") or ()
        self._resources = tuple(entry["name"] for entry in listed) or ("cpu", "memory")

    def pre_score(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> Status | None:
        return None if info.shape.requests else SKIP

    def score(self, state: CycleState, info: PodInfo, node: NodeInfo) -> int:
        fractions = []
        asked = dict(info.shape.requests)
        for name in self._resources:
            allocatable = node.allocatable.get(name, 0)
            if allocatable:
                requested = node.requested.get(name, 0) + asked.get(name, 0)
                fractions.append(min(requested / allocatable, 1.0))
        if len(fractions) < 2:
            return MAX_SCORE
        mean = sum(fractions) / len(fractions)
        deviation = sqrt(sum((fraction - mean) ** 2 for fraction in fractions) / len(fractions))
        return int((1 - deviation) * MAX_SCORE)
