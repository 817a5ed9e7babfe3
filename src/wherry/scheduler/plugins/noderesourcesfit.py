"""A node must have room for what a pod requests; the scoring strategy says which of those that have is better."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from wherry.api.meta import Object
from wherry.scheduler.framework import MAX_SCORE, Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.resources import amounts, counted_spec

_DEFAULT_RESOURCES = ({"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1})

Score = Callable[[int, int], int]
"""(requested, allocatable) to 0 … 100."""


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    per_node = True

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None) -> None:
        super().__init__(cache, arguments)
        strategy = self.arguments.get("scoringStrategy") or {}
        resources: Sequence[dict[str, Any]] = strategy.get("resources") or _DEFAULT_RESOURCES
        self._weights: list[tuple[str, int]] = [(entry["name"], entry.get("weight") or 1) for entry in resources]
        self._score = _strategy(strategy)
        self._ignored = frozenset(self.arguments.get("ignoredResources") or ())
        self._ignored_groups = tuple(f"{group}/" for group in self.arguments.get("ignoredResourceGroups") or ())

    def hints(self) -> dict[str, Hint | None]:
        return {"AssignedPod": _frees_room, "Node": _grew, "Pod": None}

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        allocatable, requested = node.allocatable, node.requested
        for name, value in info.shape.requests:
            if value > allocatable.get(name, 0) - requested.get(name, 0):
                return self._refusal(info, node)
        if len(node.pods) + 1 > node.allowed_pods:
            return self._refusal(info, node)
        return None

    def _refusal(self, info: PodInfo, node: NodeInfo) -> Status | None:
        reasons, resolvable = [], True
        if len(node.pods) + 1 > node.allowed_pods:
            reasons.append("Too many pods")
        for name, value in info.shape.requests:
            if name in self._ignored or (self._ignored_groups and name.startswith(self._ignored_groups)):
                continue
            total = node.allocatable.get(name, 0)
            if value > total - node.requested.get(name, 0):
                reasons.append(f"Insufficient {name}")
                resolvable = resolvable and value <= total
        if not reasons:
            return None
        return self.status(Code.UNSCHEDULABLE if resolvable else Code.UNRESOLVABLE, *reasons)

    def score(self, state: CycleState, info: PodInfo, node: NodeInfo) -> int:
        total = weights = 0
        asked = dict(info.shape.requests)
        for name, weight in self._weights:
            allocatable = node.allocatable.get(name, 0)
            if not allocatable:
                continue
            if name == "cpu":
                requested = node.counted_cpu + info.shape.counted_cpu
            elif name == "memory":
                requested = node.counted_memory + info.shape.counted_memory
            elif name in asked:
                requested = node.requested.get(name, 0) + asked[name]
            else:
                continue
            total += weight * self._score(requested, allocatable)
            weights += weight
        return total // weights if weights else 0


def _frees_room(info: PodInfo, old: Object | None, new: Object | None) -> bool:
    """Return true when a pod that ran ended, or holds something else than before."""
    return new is None or (old is not None and counted_spec(old) != counted_spec(new))


def _grew(info: PodInfo, old: Object | None, new: Object | None) -> bool:
    """Return true when a node has room for the pod by itself, and is new or has more than before."""
    if new is None:
        return False
    after = amounts((new.get("status") or {}).get("allocatable"))
    if any(value > after.get(name, 0) for name, value in info.shape.requests):
        return False
    before = amounts(((old or {}).get("status") or {}).get("allocatable"))
    return old is None or any(value > before.get(name, 0) for name, value in after.items())


def _strategy(strategy: dict[str, Any]) -> Score:
    match strategy.get("type", "LeastAllocated"):
        case "MostAllocated":
            return most_allocated
        case "RequestedToCapacityRatio":
            shape = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or ()
            return requested_to_capacity_ratio([(point["utilization"], point["score"] * 10) for point in shape])
    return least_allocated


def least_allocated(requested: int, allocatable: int) -> int:
    """Return a higher score for more that is left."""
    return (allocatable - requested) * MAX_SCORE // allocatable if requested <= allocatable else 0


def most_allocated(requested: int, allocatable: int) -> int:
    """Return a higher score for less that is left."""
    return min(requested, allocatable) * MAX_SCORE // allocatable


def requested_to_capacity_ratio(shape: Sequence[tuple[int, int]]) -> Score:
    """Return the piecewise linear score through (utilization in percent, score) points."""

    def score(requested: int, allocatable: int) -> int:
        used = requested * 100 // allocatable if requested <= allocatable else 100
        if used <= shape[0][0]:
            return shape[0][1]
        for (x0, y0), (x1, y1) in pairwise(shape):
            if used <= x1:
                return y0 + (y1 - y0) * (used - x0) // (x1 - x0)
        return shape[-1][1]

    return score
