"""Spreads pods over topologies: as a condition (DoNotSchedule) or a preference (ScheduleAnyway)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import REPLICASETS, REPLICATIONCONTROLLERS, SERVICES, STATEFULSETS
from wherry.client.informer import InformerFactory
from wherry.scheduler.cache import PodCounter
from wherry.scheduler.framework import MAX_SCORE, SKIP, Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.plugins.nodeaffinity import matches_node
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.selectors import LabelSelector, label_selector

_REASON = "node(s) didn't match pod topology spread constraints"
_MISSING = f"{_REASON} (missing required label)"
_HOSTNAME = "kubernetes.io/hostname"

# What Kubernetes does for pods of a Service or a controller that say nothing (defaultingType System).
_SYSTEM_DEFAULTS = (
    {"maxSkew": 3, "topologyKey": _HOSTNAME, "whenUnsatisfiable": "ScheduleAnyway"},
    {"maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
)


@dataclass(frozen=True, slots=True)
class _Constraint:
    key: str
    max_skew: int
    min_domains: int
    selectors: tuple[LabelSelector, ...]
    honor_affinity: bool
    honor_taints: bool

    def matches(self, labels: dict[str, str]) -> bool:
        return all(selector.matches(labels) for selector in self.selectors)


@dataclass(slots=True)
class _Hard:
    """Numbers of matching pods by the value of each constraint's topology key."""

    constraints: list[_Constraint]
    counts: list[dict[str, int]]
    lowest: list[int] = field(default_factory=list)

    def clone(self) -> "_Hard":
        return _Hard(self.constraints, [dict(count) for count in self.counts], list(self.lowest))

    def find_lowest(self) -> None:
        self.lowest = [
            0 if len(counts) < constraint.min_domains else min(counts.values(), default=0)
            for constraint, counts in zip(self.constraints, self.counts, strict=True)
        ]


@dataclass(slots=True)
class _Soft:
    constraints: list[_Constraint]
    counters: list[PodCounter]
    counts: list[dict[str, int]]
    weights: list[float]
    ignored: set[str]


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None, *, factory: InformerFactory) -> None:
        super().__init__(cache, arguments)
        self._services = factory.informer(SERVICES).lister
        owners = {
            "ReplicaSet": REPLICASETS,
            "StatefulSet": STATEFULSETS,
            "ReplicationController": REPLICATIONCONTROLLERS,
        }
        self._owners = {kind: factory.informer(resource).lister for kind, resource in owners.items()}
        listed = self.arguments.get("defaultingType") == "List"
        self._system = not listed
        self._defaults = (self.arguments.get("defaultConstraints") or ()) if listed else _SYSTEM_DEFAULTS

    def hints(self) -> dict[str, Hint | None]:
        def counted(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            constraints = self._constraints(info, "DoNotSchedule")
            return any(
                pod is not None
                and meta.namespace(pod) == info.namespace
                and any(constraint.matches(meta.labels(pod)) for constraint in constraints)
                for pod in (old, new)
            )

        return {"AssignedPod": counted, "Node": None, "Pod": None}

    # Filtering.

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | None:
        constraints = self._constraints(info, "DoNotSchedule")
        if not constraints:
            return SKIP
        counts: list[dict[str, int]] = [{} for _ in constraints]
        counters = [self._counter(constraint, info) for constraint in constraints]
        keys = {constraint.key for constraint in constraints}
        every = [
            (constraint.key, count, counter.by_node, constraint if _narrows(constraint, info) else None)
            for constraint, counter, count in zip(constraints, counters, counts, strict=True)
        ]
        for node in self.cache.nodes.values():
            labels = node.labels
            if not keys <= labels.keys():
                continue
            for key, count, by_node, narrowing in every:
                if narrowing is None or _included(narrowing, info, node):
                    value = labels[key]
                    count[value] = count.get(value, 0) + by_node.get(node.name, 0)
        found = _Hard(constraints, counts)
        found.find_lowest()
        state.data[self.name] = found
        return None

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        found: _Hard = state.data[self.name]
        for constraint, counts, lowest in zip(found.constraints, found.counts, found.lowest, strict=True):
            value = node.labels.get(constraint.key)
            if value is None:
                return self.status(Code.UNRESOLVABLE, _MISSING)
            itself = constraint.matches(info.labels)
            if counts.get(value, 0) + itself - lowest > constraint.max_skew:
                return self.status(Code.UNSCHEDULABLE, _REASON)
        return None

    def add_pod(self, state: CycleState, info: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        self._change(state.data[self.name], info, added, node, 1)

    def remove_pod(self, state: CycleState, info: PodInfo, removed: PodInfo, node: NodeInfo) -> None:
        self._change(state.data[self.name], info, removed, node, -1)

    def _change(self, found: _Hard, info: PodInfo, other: PodInfo, node: NodeInfo, by: int) -> None:
        if other.namespace != info.namespace or other.deleting:
            return
        for constraint, counts in zip(found.constraints, found.counts, strict=True):
            value = node.labels.get(constraint.key)
            if value in counts and constraint.matches(other.labels) and _included(constraint, info, node):
                counts[value] += by
        found.find_lowest()

    # Scoring.

    def pre_score(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> Status | None:
        constraints = self._constraints(info, "ScheduleAnyway")
        if not constraints:
            return SKIP
        if not nodes:
            return None
        # Default constraints are for any cluster: a node that lacks a label still has the other.
        every_key = bool(info.shape.spread) or not self._system
        keys = {constraint.key for constraint in constraints} if every_key else set()
        ignored = {node.name for node in nodes if not keys <= node.labels.keys()} if keys else set()
        scored = [node for node in nodes if node.name not in ignored] if ignored else nodes
        counters = [self._counter(constraint, info) for constraint in constraints]
        counts: list[dict[str, int]] = []
        weights = []
        for constraint, counter in zip(constraints, counters, strict=True):
            if constraint.key == _HOSTNAME:
                counts.append({})
                size = len(scored)
            else:
                count = {n.labels[constraint.key]: 0 for n in scored if constraint.key in n.labels}
                size = len(count)
                self._count(constraint, counter, info, count)
                counts.append(count)
            weights.append(math.log(size + 2))
        state.data[self.name, "score"] = _Soft(constraints, counters, counts, weights, ignored)
        return None

    def _count(self, constraint: _Constraint, counter: PodCounter, info: PodInfo, count: dict[str, int]) -> None:
        nodes, key, narrows = self.cache.nodes, constraint.key, _narrows(constraint, info)
        for name, number in counter.by_node.items():
            node = nodes.get(name)
            value = node.labels.get(key) if node is not None else None
            if node is not None and value in count and (not narrows or _included(constraint, info, node)):
                count[value] += number

    def score(self, state: CycleState, info: PodInfo, node: NodeInfo) -> int:
        return self.scores(state, info, (node,))[node.name]

    def scores(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, int]:
        """Most of what the scheduler does for a pod of a Deployment is this."""
        found: _Soft = state.data[self.name, "score"]
        totals = dict.fromkeys((node.name for node in nodes), 0.0)
        for constraint, counter, counts, weight in zip(
            found.constraints, found.counters, found.counts, found.weights, strict=True
        ):
            key, least = constraint.key, constraint.max_skew - 1
            if key == _HOSTNAME:
                by_node = counter.by_node
                for node in nodes:
                    if key in node.labels:
                        totals[node.name] += by_node.get(node.name, 0) * weight + least
            else:
                each = {value: number * weight + least for value, number in counts.items()}
                for node in nodes:
                    if key in node.labels and node.name not in found.ignored:
                        totals[node.name] += each[node.labels[key]]
        return {name: 0 if name in found.ignored else round(total) for name, total in totals.items()}

    def normalize(self, state: CycleState, info: PodInfo, scores: dict[str, int]) -> None:
        ignored = state.data[self.name, "score"].ignored
        counted = [score for name, score in scores.items() if name not in ignored]
        lowest, highest = min(counted, default=0), max(counted, default=0)
        for name, score in scores.items():
            if name in ignored:
                scores[name] = 0
            else:
                scores[name] = MAX_SCORE * (highest + lowest - score) // highest if highest else MAX_SCORE

    # Constraints.

    def _constraints(self, info: PodInfo, action: str) -> list[_Constraint]:
        if info.shape.spread:
            return [_parse(c, info.labels) for c in info.shape.spread if c["whenUnsatisfiable"] == action]
        chosen = [c for c in self._defaults if c["whenUnsatisfiable"] == action]
        if not chosen:
            return []
        selectors = self._default_selectors(info)
        return [_parse(c, info.labels, selectors) for c in chosen] if selectors else []

    def _default_selectors(self, info: PodInfo) -> tuple[LabelSelector, ...]:
        """Return the selectors of the Services and of the controller that the pod belongs to."""
        found = [
            label_selector({"matchLabels": selector})
            for service in self._services.list(info.namespace)
            if (selector := service["spec"].get("selector")) and selector.items() <= info.labels.items()
        ]
        owner = meta.controller_of(info.pod)
        lister = self._owners.get(owner["kind"]) if owner else None
        if owner and lister:
            controller = lister.get(meta.make_key(info.namespace, owner["name"]))
            selector = controller["spec"].get("selector") if controller else None
            if selector:
                plain = owner["kind"] == "ReplicationController"
                found.append(label_selector({"matchLabels": selector} if plain else selector))
        return tuple(found)

    def _counter(self, constraint: _Constraint, info: PodInfo) -> PodCounter:
        return self.cache.counter(constraint.selectors, frozenset((info.namespace,)), alive=True)


def _parse(
    constraint: dict[str, Any], labels: dict[str, str], selectors: tuple[LabelSelector, ...] = ()
) -> _Constraint:
    if not selectors:
        selectors = (label_selector(constraint.get("labelSelector")),)
        same = {key: labels[key] for key in constraint.get("matchLabelKeys") or () if key in labels}
        if same:
            selectors += (label_selector({"matchLabels": same}),)
    return _Constraint(
        constraint["topologyKey"],
        constraint["maxSkew"],
        constraint.get("minDomains") or 1,
        selectors,
        constraint.get("nodeAffinityPolicy", "Honor") == "Honor",
        constraint.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )


def _narrows(constraint: _Constraint, info: PodInfo) -> bool:
    """Tell whether any node may be left out of the counting."""
    shape = info.shape
    by_affinity = constraint.honor_affinity and bool(shape.node_selector or shape.required_nodes is not None)
    return by_affinity or constraint.honor_taints


def _included(constraint: _Constraint, info: PodInfo, node: NodeInfo) -> bool:
    """Tell whether a node's pods count (KEP-3094)."""
    if constraint.honor_affinity and not matches_node(info.shape, node.name, node.labels):
        return False
    return not constraint.honor_taints or all(info.shape.tolerates(*taint) for taint in node.hard_taints)
