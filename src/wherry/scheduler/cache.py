"""All nodes with what runs on them, including pods that were just placed and whose binding is under way."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import AffinityTerm, PodInfo
from wherry.scheduler.selectors import LabelSelector

_LOG_LIMIT = 100_000
_COUNTERS = 8192


class PodCounter:
    """Counts, for each node, the pods that a selector matches; kept up to date by the cache.

    `namespaces` None: all. `alive`: pods that are being deleted do not count. `term` is a label that all these pods
    have, None where no one label is sure.
    """

    def __init__(self, selectors: tuple[LabelSelector, ...], namespaces: frozenset[str] | None, alive: bool) -> None:
        self._selectors = selectors
        self._namespaces = namespaces
        self._alive = alive
        self.term = max((selector.term for selector in selectors if selector.term is not None), default=None)
        self.by_node: dict[str, int] = {}

    def matches(self, info: PodInfo) -> bool:
        """Tell whether a pod counts."""
        if self._namespaces is not None and info.namespace not in self._namespaces:
            return False
        if self._alive and info.deleting:
            return False
        return all(selector.matches(info.labels) for selector in self._selectors)

    def change(self, info: PodInfo, node_name: str, by: int) -> None:
        """Count a pod that came (+1) or went (-1)."""
        if self.matches(info):
            count = self.by_node.get(node_name, 0) + by
            if count:
                self.by_node[node_name] = count
            else:
                self.by_node.pop(node_name, None)


@dataclass(frozen=True, slots=True)
class ExistingTerm:
    """An affinity term of pods that run; equal terms of any number of pods are one. `weight` is signed."""

    term: AffinityTerm
    owner_namespace: str
    weight: int


class TermIndex:
    """The affinity terms of the pods that run, each with the number of its pods by node."""

    def __init__(self, terms_of: Callable[[PodInfo], Iterable[tuple[AffinityTerm, int]]]) -> None:
        self._terms_of = terms_of
        self.terms: dict[Any, tuple[ExistingTerm, dict[str, int]]] = {}

    def change(self, info: PodInfo, node_name: str, by: int) -> None:
        """Count the terms of a pod that came (+1) or went (-1)."""
        for term, weight in self._terms_of(info):
            namespace_selector = term.namespace_selector.key if term.namespace_selector else None
            owner = info.namespace if not term.namespaces and namespace_selector is None else ""
            key = term.selector.key, term.topology_key, term.namespaces, namespace_selector, owner, weight
            _, by_node = self.terms.setdefault(key, (ExistingTerm(term, owner, weight), {}))
            count = by_node.get(node_name, 0) + by
            if count:
                by_node[node_name] = count
            else:
                del by_node[node_name]
                if not by_node:
                    del self.terms[key]


def required_anti_affinity(info: PodInfo) -> Iterable[tuple[AffinityTerm, int]]:
    """Yield the terms that keep other pods away."""
    return ((term, 0) for term in info.shape.anti_affinity)


def attractions(info: PodInfo) -> Iterable[tuple[AffinityTerm, int]]:
    """Yield the terms that count for others with their weights; of required affinity 0: a profile knows its weight."""
    yield from ((term, 0) for term in info.shape.affinity)
    yield from ((term, term.weight) for term in info.shape.preferred_affinity)
    yield from ((term, -term.weight) for term in info.shape.preferred_anti_affinity)


class Cache:
    """The scheduler's picture of the cluster. It lives on the event loop and always holds the latest.

    `nodes` are those that have an object. Every change of a node is appended to a log (`position`, `changed_since`),
    so that a ranking of nodes need only look at what is new. `image_epoch` grows when an image comes to or goes from
    any node, which counts on all. `anti_affinity` holds the required terms of the pods that run, `attractions` those
    that count for or against other pods.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.image_epoch = 0
        self.soft_tainted: set[str] = set()
        self.anti_affinity = TermIndex(required_anti_affinity)
        self.attractions = TermIndex(attractions)
        self.images: dict[str, dict[str, int]] = {}
        self.priorities: dict[int, int] = {}
        self.nominated: dict[str, dict[str, PodInfo]] = {}
        self._orphans: dict[str, NodeInfo] = {}
        self._where: dict[str, tuple[str, PodInfo]] = {}
        self._assumed: set[str] = set()
        self._by_label: dict[tuple[str, str], dict[str, None]] = {}
        self._counters: OrderedDict[Any, PodCounter] = OrderedDict()
        self._counters_by_term: dict[tuple[str, str] | None, dict[Any, PodCounter]] = {}
        self._log: list[str] = []
        self._log_start = 0
        self._nominations: dict[str, str] = {}

    # Nodes.

    def set_node(self, node: Object) -> None:
        """Add or update a node."""
        name = meta.name(node)
        info = self.nodes.get(name)
        if info is None:
            info = self.nodes[name] = self._orphans.pop(name) if name in self._orphans else NodeInfo(name)
        images = info.images
        info.set_node(node)
        if images != info.images:
            self._index_images(name, images, info.images)
        (self.soft_tainted.add if info.soft_taints else self.soft_tainted.discard)(name)
        self._changed(name)

    def remove_node(self, name: str) -> None:
        """Remove a node; its pods are kept until they are removed, in case it comes back."""
        info = self.nodes.pop(name, None)
        if info is None:
            return
        self.soft_tainted.discard(name)
        self._index_images(name, info.images, {})
        if info.pods:
            self._orphans[name] = info
        self._changed(name)

    def _index_images(self, name: str, old: dict[str, int], new: dict[str, int]) -> None:
        self.image_epoch += 1
        for image in old.keys() - new.keys():
            holders = self.images.get(image, {})
            holders.pop(name, None)
            if not holders:
                self.images.pop(image, None)
        for image, size in new.items():
            self.images.setdefault(image, {})[name] = size

    # Pods.

    def set_pod(self, info: PodInfo, node_name: str) -> None:
        """Add or update a pod that the API says runs on a node; an assumed one is confirmed."""
        self._assumed.discard(info.key)
        where = self._where.get(info.key)
        if where is not None:
            old_node, old = where
            if old_node == node_name and old.shape is info.shape and _same_to_nodes(old, info):
                if old.labels != info.labels:
                    self._count(node_name, old, -1)
                    self._count(node_name, info, 1)
                self._where[info.key] = (node_name, info)
                self._node_of(node_name).pods[info.key] = info
                return
            self._remove(old, old_node)
        self._add(info, node_name)

    def renew_pod(self, pod: Object) -> None:
        """Take a pod's new status, when nothing else of it changed."""
        where = self._where.get(meta.key_of(pod))
        if where is not None:
            where[1].pod = pod

    def remove_pod(self, key: str) -> PodInfo | None:
        """Remove a pod, also an assumed one, and return it."""
        where = self._where.get(key)
        if where is None:
            return None
        self._assumed.discard(key)
        self._remove(where[1], where[0])
        return where[1]

    def assume(self, info: PodInfo, node_name: str) -> None:
        """Count a pod as running on a node before the API knows."""
        self._assumed.add(info.key)
        self._add(info, node_name)

    def forget(self, info: PodInfo) -> None:
        """Undo `assume`, unless the API has confirmed it meanwhile."""
        if info.key in self._assumed and self._where[info.key][1] is info:
            self.remove_pod(info.key)

    def is_assumed(self, key: str) -> bool:
        """Tell whether the API has yet to confirm the pod's node."""
        return key in self._assumed

    def node_of(self, key: str) -> str | None:
        """Return the name of the node that a pod runs on."""
        where = self._where.get(key)
        return where[0] if where else None

    def find_pod(self, key: str) -> PodInfo | None:
        """Return a pod that runs on a node."""
        where = self._where.get(key)
        return where[1] if where else None

    def _node_of(self, name: str) -> NodeInfo:
        node = self.nodes.get(name) or self._orphans.get(name)
        if node is None:
            node = self._orphans[name] = NodeInfo(name)
        return node

    def _add(self, info: PodInfo, node_name: str) -> None:
        node = self._node_of(node_name)
        node.add(info)
        self._where[info.key] = (node_name, info)
        self._pod_changed(node, info, 1)

    def _remove(self, info: PodInfo, node_name: str) -> None:
        node = self._node_of(node_name)
        node.remove(info)
        del self._where[info.key]
        self._pod_changed(node, info, -1)
        if node_name in self._orphans and not node.pods:
            del self._orphans[node_name]

    def _pod_changed(self, node: NodeInfo, info: PodInfo, by: int) -> None:
        self.priorities[info.priority] = self.priorities.get(info.priority, 0) + by
        if not self.priorities[info.priority]:
            del self.priorities[info.priority]
        self._count(node.name, info, by)
        if info.shape.has_affinity:
            self.anti_affinity.change(info, node.name, by)
            self.attractions.change(info, node.name, by)
        self._changed(node.name)

    def _count(self, node_name: str, info: PodInfo, by: int) -> None:
        """Count a pod that came (+1) or went (-1) where its labels count."""
        for label in info.labels.items():
            if by > 0:
                self._by_label.setdefault(label, {})[info.key] = None
            else:
                _drop(self._by_label, label, info.key)
        if self._counters:
            for term in (*info.labels.items(), None):
                for counter in self._counters_by_term.get(term, {}).values():
                    counter.change(info, node_name, by)

    def sizes(self) -> dict[str, int]:
        """Return how many nodes, pods and assumed pods there are."""
        return {"nodes": len(self.nodes), "pods": len(self._where), "assumed_pods": len(self._assumed)}

    # Nominations: pods for which room is being made.

    def nominate(self, info: PodInfo, node_name: str) -> None:
        """Reserve a node's room for a pod against pods of lower priority; an empty name takes it back."""
        before = self._nominations.pop(info.key, None)
        if before is not None:
            self.nominated[before].pop(info.key, None)
            if not self.nominated[before]:
                del self.nominated[before]
        if node_name:
            self._nominations[info.key] = node_name
            self.nominated.setdefault(node_name, {})[info.key] = info

    def nomination_of(self, key: str) -> str:
        """Return the node that is reserved for a pod, empty when none is."""
        return self._nominations.get(key, "")

    # What plugins ask.

    def counter(
        self, selectors: tuple[LabelSelector, ...], namespaces: frozenset[str] | None, *, alive: bool = False
    ) -> PodCounter:
        """Return the counter of pods that all of `selectors` match; it stays up to date while it is asked for."""
        key = tuple(selector.key for selector in selectors), namespaces, alive
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = PodCounter(selectors, namespaces, alive)
            self._counters_by_term.setdefault(counter.term, {})[key] = counter
            for node_name, info in self._pods_with(counter.term):
                counter.change(info, node_name, 1)
            if len(self._counters) > _COUNTERS:
                self._drop_counter()
        else:
            self._counters.move_to_end(key)
        return counter

    def _drop_counter(self) -> None:
        key, oldest = self._counters.popitem(last=False)
        alike = self._counters_by_term[oldest.term]
        del alike[key]
        if not alike:
            del self._counters_by_term[oldest.term]

    def _pods_with(self, term: tuple[str, str] | None) -> Iterable[tuple[str, PodInfo]]:
        keys = self._where if term is None else self._by_label.get(term, ())
        return [self._where[key] for key in keys]

    # The log of changes.

    @property
    def position(self) -> int:
        """The end of the log."""
        return self._log_start + len(self._log)

    def changed_since(self, position: int) -> Iterable[str] | None:
        """Return the names of nodes that changed after a position, None when it is too long ago to tell."""
        if position < self._log_start:
            return None
        return dict.fromkeys(self._log[position - self._log_start :])

    def _changed(self, name: str) -> None:
        self._log.append(name)
        if len(self._log) > _LOG_LIMIT:
            cut = _LOG_LIMIT // 2
            del self._log[:cut]
            self._log_start += cut


def _same_to_nodes(old: PodInfo, new: PodInfo) -> bool:
    return old.deleting == new.deleting and old.priority == new.priority


def _drop(groups: dict[tuple[str, str], dict[str, None]], group: tuple[str, str], key: str) -> None:
    members = groups[group]
    members.pop(key, None)
    if not members:
        del groups[group]
