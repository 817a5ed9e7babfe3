"""Affinity and anti-affinity to other pods."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import NAMESPACES
from wherry.client.informer import InformerFactory
from wherry.scheduler.cache import ExistingTerm
from wherry.scheduler.framework import MAX_SCORE, SKIP, Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import AffinityTerm, PodInfo, shape_of

_AFFINITY = "node(s) didn't match pod affinity rules"
_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
_EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"

Pairs = dict[str, dict[str, int]]
"""Numbers of pods by topology key and its value, none of them 0; few keys, and as many values as nodes."""


@dataclass(slots=True)
class _State:
    """`existing`: pods whose anti-affinity the pod would hurt; the others: pods that match its own terms."""

    existing: Pairs = field(default_factory=dict)
    affinity: Pairs = field(default_factory=dict)
    anti_affinity: Pairs = field(default_factory=dict)

    def clone(self) -> "_State":
        return _State(*(_copied(pairs) for pairs in (self.existing, self.affinity, self.anti_affinity)))


class InterPodAffinity(Plugin):
    name = "InterPodAffinity"

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None, *, factory: InformerFactory) -> None:
        super().__init__(cache, arguments)
        self._hard_weight = int(self.arguments.get("hardPodAffinityWeight", 1))
        self._own_alone = bool(self.arguments.get("ignorePreferredTermsOfExistingPods"))
        self._namespaces = factory.informer(NAMESPACES, metadata_only=True).lister

    def hints(self) -> dict[str, Hint | None]:
        def concerned(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            """Tell whether a pod that came, changed or went matches a term, or had one that matched."""
            for pod in (old, new):
                if pod is not None:
                    own = (*info.shape.affinity, *info.shape.anti_affinity)
                    if any(self._matches(term, info.namespace, pod) for term in own):
                        return True
                    theirs = shape_of(pod["spec"]).anti_affinity
                    if any(self._matches(term, meta.namespace(pod), info.pod) for term in theirs):
                        return True
            return False

        return {"AssignedPod": concerned, "Node": None, "Pod": None}

    # Filtering.

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | None:
        shape = info.shape
        if not (shape.affinity or shape.anti_affinity or self.cache.anti_affinity.terms):
            return SKIP
        found = _State()
        for existing, by_node in self.cache.anti_affinity.terms.values():
            if self._matches(existing.term, existing.owner_namespace, info.pod):
                self._collect(found.existing, existing.term.topology_key, by_node)
        if shape.affinity:
            # A pod counts when it matches all terms, then for the topology of each.
            counter = self._counter(shape.affinity, info)
            for term in shape.affinity:
                self._collect(found.affinity, term.topology_key, counter.by_node)
        for term in shape.anti_affinity:
            self._collect(found.anti_affinity, term.topology_key, self._counter([term], info).by_node)
        # Without terms of its own only a nominated pod can still bring what is not there yet.
        if not (found.existing or shape.affinity or shape.anti_affinity or self.cache.nominated):
            return SKIP
        state.data[self.name] = found
        return None

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        found: _State = state.data[self.name]
        labels = node.labels
        if info.shape.affinity and not self._has_company(found, info, labels):
            return self.status(Code.UNRESOLVABLE, _AFFINITY)
        if found.anti_affinity and any(
            _has(found.anti_affinity, term.topology_key, labels) for term in info.shape.anti_affinity
        ):
            return self.status(Code.UNSCHEDULABLE, _ANTI_AFFINITY)
        if any(_has(found.existing, key, labels) for key in found.existing):
            return self.status(Code.UNSCHEDULABLE, _EXISTING)
        return None

    def _has_company(self, found: _State, info: PodInfo, labels: dict[str, str]) -> bool:
        terms = info.shape.affinity
        if any(term.topology_key not in labels for term in terms):
            return False
        if all(_has(found.affinity, term.topology_key, labels) for term in terms):
            return True
        # The first pod of a group that wants to be together is not to wait for itself.
        return not found.affinity and all(self._matches(term, info.namespace, info.pod) for term in terms)

    def add_pod(self, state: CycleState, info: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        self._change(state.data[self.name], info, added, node, 1)

    def remove_pod(self, state: CycleState, info: PodInfo, removed: PodInfo, node: NodeInfo) -> None:
        self._change(state.data[self.name], info, removed, node, -1)

    def _change(self, found: _State, info: PodInfo, other: PodInfo, node: NodeInfo, by: int) -> None:
        theirs = [term for term in other.shape.anti_affinity if self._matches(term, other.namespace, info.pod)]
        anti = [term for term in info.shape.anti_affinity if self._matches(term, info.namespace, other.pod)]
        affinity = info.shape.affinity
        together = affinity if all(self._matches(term, info.namespace, other.pod) for term in affinity) else []
        for pairs, terms in ((found.existing, theirs), (found.anti_affinity, anti), (found.affinity, together)):
            for term in terms:
                value = node.labels.get(term.topology_key)
                if value is not None:
                    _add(pairs, term.topology_key, value, by)

    # Scoring.

    def pre_score(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> Status | None:
        shape = info.shape
        own = shape.preferred_affinity or shape.preferred_anti_affinity
        if self._own_alone and not own:
            return SKIP
        theirs = [
            entry
            for entry in self.cache.attractions.terms.values()
            if self._counts(entry[0]) and self._matches(entry[0].term, entry[0].owner_namespace, info.pod)
        ]
        if not own and not theirs:
            return SKIP
        if not nodes:
            return None
        pairs: Pairs = {}
        self._add_attractions(pairs, theirs)
        for terms, sign in ((shape.preferred_affinity, 1), (shape.preferred_anti_affinity, -1)):
            for term in terms:
                counter = self._counter([term], info)
                self._collect(pairs, term.topology_key, counter.by_node, weight=sign * term.weight)
        state.data[self.name, "score"] = pairs
        return None

    def _counts(self, existing: ExistingTerm) -> bool:
        """Tell whether a term of pods that run has a say; required affinity has none at a weight of 0."""
        return not self._own_alone if existing.weight else self._hard_weight > 0

    def _add_attractions(self, pairs: Pairs, entries: Iterable[tuple[ExistingTerm, dict[str, int]]]) -> None:
        for existing, by_node in entries:
            weight = existing.weight or self._hard_weight
            self._collect(pairs, existing.term.topology_key, by_node, weight=weight)

    def score(self, state: CycleState, info: PodInfo, node: NodeInfo) -> int:
        pairs: Pairs = state.data[self.name, "score"]
        labels = node.labels
        return sum(weights.get(labels[key], 0) for key, weights in pairs.items() if key in labels)

    def normalize(self, state: CycleState, info: PodInfo, scores: dict[str, int]) -> None:
        lowest, highest = min(scores.values()), max(scores.values())
        spread = highest - lowest
        for name, score in scores.items():
            scores[name] = MAX_SCORE * (score - lowest) // spread if spread else 0

    # Terms.

    def _collect(self, pairs: Pairs, key: str, by_node: dict[str, int], *, weight: int = 1) -> None:
        nodes = self.cache.nodes
        found: dict[str, int] = {}
        for node_name, count in by_node.items():
            node = nodes.get(node_name)
            value = node.labels.get(key) if node is not None else None
            if value is not None:
                found[value] = found.get(value, 0) + count
        for value, count in found.items():
            _add(pairs, key, value, count * weight)

    def _counter(self, terms: Sequence[AffinityTerm], info: PodInfo) -> Any:
        spaces = [self._spaces(term, info.namespace) for term in terms]
        limited = [some for some in spaces if some is not None]
        common = frozenset.intersection(*limited) if limited else None
        return self.cache.counter(tuple(term.selector for term in terms), common)

    def _spaces(self, term: AffinityTerm, owner: str) -> frozenset[str] | None:
        """Return the namespaces of a term, None for all."""
        if term.namespace_selector is None:
            return term.namespaces or frozenset((owner,))
        if not term.namespace_selector.requirements and not term.namespace_selector.nothing:
            return None
        chosen = {
            meta.name(space) for space in self._namespaces.list() if term.namespace_selector.matches(meta.labels(space))
        }
        return term.namespaces | chosen

    def _matches(self, term: AffinityTerm, owner: str, pod: Object) -> bool:
        if not term.selector.matches(meta.labels(pod)):
            return False
        spaces = self._spaces(term, owner)
        return spaces is None or meta.namespace(pod) in spaces


def _add(pairs: Pairs, key: str, value: str, by: int) -> None:
    values = pairs.setdefault(key, {})
    number = values.get(value, 0) + by
    if number:
        values[value] = number
        return
    values.pop(value, None)
    if not values:
        del pairs[key]


def _has(pairs: Pairs, key: str, labels: dict[str, str]) -> bool:
    """Tell whether any pod is counted where a node with `labels` is."""
    return labels.get(key) in pairs.get(key, ())


def _copied(pairs: Pairs) -> Pairs:
    return {key: dict(values) for key, values in pairs.items()}
