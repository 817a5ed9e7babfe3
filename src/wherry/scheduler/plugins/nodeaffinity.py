"""``nodeSelector`` and node affinity."""

from collections.abc import Sequence
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.scheduler.framework import (
    SKIP,
    Code,
    CycleState,
    Hint,
    Plugin,
    PreFilterResult,
    Status,
    normalize_by_maximum,
)
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo, PodShape
from wherry.scheduler.selectors import NodeSelectorTerm

_REASON = "node(s) didn't match Pod's node affinity/selector"
_REASON_ADDED = "node(s) didn't match scheduler-enforced node affinity"


def matches_node(shape: PodShape, name: str, labels: dict[str, str]) -> bool:
    """Tell whether a pod's node selector and required node affinity take a node."""
    for key, value in shape.node_selector.items():
        if labels.get(key) != value:
            return False
    return shape.required_nodes is None or any(term.matches(name, labels) for term in shape.required_nodes)


class NodeAffinity(Plugin):
    name = "NodeAffinity"
    per_node = True

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None) -> None:
        super().__init__(cache, arguments)
        added = self.arguments.get("addedAffinity") or {}
        required = added.get("requiredDuringSchedulingIgnoredDuringExecution")
        self._added = None if required is None else [NodeSelectorTerm(t) for t in required["nodeSelectorTerms"]]
        self._preferred = [
            (entry["weight"], NodeSelectorTerm(entry["preference"]))
            for entry in added.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]

    def hints(self) -> dict[str, Hint | None]:
        def fits(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is not None and matches_node(info.shape, meta.name(new), meta.labels(new))

        return {"Node": fits, "Pod": None}

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | PreFilterResult | None:
        shape = info.shape
        if shape.required_nodes is None:
            return None if shape.node_selector or self._added is not None else SKIP
        names: set[str] = set()
        for term in shape.required_nodes:
            only = term.names()
            if only is None:
                return None
            names |= only
        if shape.required_nodes and not names:
            return self.status(Code.UNRESOLVABLE, "pod affinity terms conflict")
        return PreFilterResult(frozenset(names))

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        if self._added is not None and not any(term.matches(node.name, node.labels) for term in self._added):
            return self.status(Code.UNRESOLVABLE, _REASON_ADDED)
        if matches_node(info.shape, node.name, node.labels):
            return None
        return self.status(Code.UNRESOLVABLE, _REASON)

    def pre_score(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> Status | None:
        return None if info.shape.preferred_nodes or self._preferred else SKIP

    def score(self, state: CycleState, info: PodInfo, node: NodeInfo) -> int:
        preferred = (*info.shape.preferred_nodes, *self._preferred)
        return sum(weight for weight, term in preferred if term.matches(node.name, node.labels))

    def normalize(self, state: CycleState, info: PodInfo, scores: dict[str, int]) -> None:
        normalize_by_maximum(scores)
