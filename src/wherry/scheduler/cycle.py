"""Chooses a node for a pod: filter, score, select. Changes nothing but the plugins' cycle state; synchronous, but for
the say of extenders."""

import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

from wherry.scheduler.cache import Cache
from wherry.scheduler.extender import Extenders
from wherry.scheduler.failure import Diagnosis
from wherry.scheduler.framework import (
    Code,
    CycleState,
    Plugin,
    PreFilterResult,
    Status,
)
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.profile import Profile
from wherry.scheduler.ranking import Accept, Ranking

_RANKINGS = 512
_FEW_NODES = 100


class Unschedulable(Exception):
    """No node can take the pod."""

    def __init__(self, diagnosis: Diagnosis, state: CycleState) -> None:
        super().__init__(diagnosis.message())
        self.diagnosis = diagnosis
        self.state = state


@dataclass(frozen=True, slots=True)
class Choice:
    """The node for a pod, and the state for the plugins that still act."""

    node_name: str
    state: CycleState


class Chooser:
    """Chooses nodes by one profile."""

    def __init__(self, profile: Profile, cache: Cache) -> None:
        self.profile = profile
        self._cache = cache
        self._rankings: OrderedDict[tuple[bytes, tuple[int, int] | None, tuple[str, ...]], Ranking] = OrderedDict()
        self._start = 0

    def choose(self, info: PodInfo) -> Choice:
        """Return the best node for a pod. Raises Unschedulable."""
        state, diagnosis, only, filters = self._begin(info)
        if only is None and not self._cache.nominated:
            return Choice(self._ranked(state, info, filters, diagnosis), state)
        feasible = self._feasible(state, info, filters, only, diagnosis)
        if not feasible:
            raise Unschedulable(diagnosis, state)
        if len(feasible) == 1:
            return Choice(feasible[0].name, state)
        return Choice(self._best(state, info, feasible, dict.fromkeys((node.name for node in feasible), 0)), state)

    async def choose_asking(self, info: PodInfo, extenders: Extenders) -> Choice:
        """Do as `choose` with a say of extenders. Raises Unschedulable, ExtenderError."""
        state, diagnosis, only, filters = self._begin(info)
        feasible = self._feasible(state, info, filters, only, diagnosis)
        feasible = await extenders.filter(info, feasible, diagnosis)
        if not feasible:
            raise Unschedulable(diagnosis, state)
        if len(feasible) == 1:
            return Choice(feasible[0].name, state)
        return Choice(self._best(state, info, feasible, await extenders.scores(info, feasible)), state)

    def _begin(self, info: PodInfo) -> tuple[CycleState, Diagnosis, frozenset[str] | None, list[Plugin]]:
        """Prepare filtering; the third are the only nodes that are possible, the last the filters with a say."""
        state = CycleState()
        nodes = self._cache.nodes
        if not nodes:
            raise Unschedulable(Diagnosis(0, plugins={p.name for p in self.profile.at("filter")}), state)
        diagnosis = Diagnosis(len(nodes))
        only = self._pre_filter(state, info, diagnosis)
        return state, diagnosis, only, [p for p in self.profile.at("filter") if p.name not in state.skip_filter]

    def fits(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        """Return why a node cannot take the pod, with and without the pods that room is being made for there."""
        filters = [p for p in self.profile.at("filter") if p.name not in state.skip_filter]
        return self._fits(state, info, node, filters)

    def add_pod(self, state: CycleState, info: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        """Add a pod to a cloned node, with the state of all plugins."""
        node.add(added)
        for plugin in self.profile.at("add_pod"):
            if plugin.name not in state.skip_filter:
                plugin.add_pod(state, info, added, node)

    def remove_pod(self, state: CycleState, info: PodInfo, removed: PodInfo, node: NodeInfo) -> None:
        """Remove a pod from a cloned node, with the state of all plugins."""
        node.remove(removed)
        for plugin in self.profile.at("remove_pod"):
            if plugin.name not in state.skip_filter:
                plugin.remove_pod(state, info, removed, node)

    # Filtering.

    def _pre_filter(self, state: CycleState, info: PodInfo, diagnosis: Diagnosis) -> frozenset[str] | None:
        only: frozenset[str] | None = None
        narrowed_by: list[str] = []
        for plugin in self.profile.at("pre_filter"):
            result = plugin.pre_filter(state, info)
            if result is None:
                continue
            if isinstance(result, PreFilterResult):
                only = result.node_names if only is None else only & result.node_names
                narrowed_by.append(plugin.name)
                if not only:
                    diagnosis.plugins.update(narrowed_by)
                    diagnosis.pre_filter = f"node(s) didn't satisfy plugin(s) {_listed(narrowed_by)} simultaneously"
                    raise Unschedulable(diagnosis, state)
            elif result.code is Code.SKIP:
                state.skip_filter.add(plugin.name)
            else:
                diagnosis.plugins.add(plugin.name)
                diagnosis.pre_filter = result.message
                diagnosis.statuses = dict.fromkeys(self._cache.nodes, result)
                raise Unschedulable(diagnosis, state)
        if only is not None:
            text = f"node(s) didn't satisfy plugin(s) {_listed(narrowed_by)}"
            diagnosis.absent = Status(Code.UNRESOLVABLE, (text,))
            diagnosis.plugins.update(narrowed_by)
        return only

    def _feasible(
        self, state: CycleState, info: PodInfo, filters: list[Plugin], only: frozenset[str] | None, diagnosis: Diagnosis
    ) -> list[NodeInfo]:
        """Return nodes that can take the pod: all there are, or in a large cluster as many as are worth scoring."""
        nominated = self._cache.nodes.get(self._cache.nomination_of(info.key))
        possible = nominated is not None and (only is None or nominated.name in only)
        if possible and nominated is not None and self._fits(state, info, nominated, filters) is None:
            return [nominated]
        if only is not None:
            candidates = [node for name in sorted(only) if (node := self._cache.nodes.get(name)) is not None]
        else:
            every = list(self._cache.nodes.values())
            start = self._start % len(every)
            candidates = every[start:] + every[:start]
        enough = self._enough(len(candidates))
        feasible: list[NodeInfo] = []
        looked_at = 0
        for node in candidates:
            looked_at += 1
            status = self._fits(state, info, node, filters)
            if status is None:
                feasible.append(node)
                if len(feasible) >= enough:
                    break
            else:
                diagnosis.statuses[node.name] = status
                diagnosis.plugins.add(status.plugin)
        self._start += looked_at
        return feasible

    def _enough(self, nodes: int) -> int:
        """Return how many feasible nodes are looked for (percentageOfNodesToScore, adaptive by default)."""
        percentage = self.profile.config.percentage_of_nodes_to_score or max(50 - nodes // 125, 5)
        return nodes if nodes < _FEW_NODES else max(nodes * percentage // 100, _FEW_NODES)

    def _fits(self, state: CycleState, info: PodInfo, node: NodeInfo, filters: list[Plugin]) -> Status | None:
        nominated = self._cache.nominated.get(node.name)
        if nominated:
            rivals = [other for key, other in nominated.items() if key != info.key and other.priority >= info.priority]
            if rivals:
                trial, trial_state = node.clone(), state.clone()
                for rival in rivals:
                    self.add_pod(trial_state, info, rival, trial)
                if (status := _filtered(filters, trial_state, info, trial)) is not None:
                    return status
        # Again without them: a pod may need not to depend on what is not there yet.
        return _filtered(filters, state, info, node)

    # Scoring.

    def _pre_score(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> list[Plugin]:
        """Return the plugins that have a say about scores."""
        state.skip_score.clear()
        for plugin in self.profile.at("pre_score"):
            status = plugin.pre_score(state, info, nodes)
            if status is not None:
                state.skip_score.add(plugin.name)
        return [plugin for plugin in self.profile.at("score") if plugin.name not in state.skip_score]

    def _best(self, state: CycleState, info: PodInfo, nodes: list[NodeInfo], total: dict[str, int]) -> str:
        return self._highest(state, info, nodes, self._pre_score(state, info, nodes), total)

    def _highest(
        self, state: CycleState, info: PodInfo, nodes: list[NodeInfo], scorers: list[Plugin], total: dict[str, int]
    ) -> str:
        """Add the scores of `scorers` to `total` and return the name of the best node."""
        relative = self.profile.at("normalize")
        for plugin in scorers:
            scores = plugin.scores(state, info, nodes)
            if plugin in relative:
                plugin.normalize(state, info, scores)
            weight = self.profile.weights[plugin.name]
            for name, score in scores.items():
                total[name] += score * weight
        highest = max(total.values())
        return random.choice([name for name, score in total.items() if score == highest])

    # Rankings: what alike pods have in common.

    def _ranked(self, state: CycleState, info: PodInfo, filters: list[Plugin], diagnosis: Diagnosis) -> str:
        """Choose among the nodes that a ranking holds; only what does not depend on one node alone is computed."""
        relative = self.profile.at("normalize")
        scorers = self._pre_score(state, info, ())
        lonely = [plugin for plugin in scorers if plugin.per_node and plugin not in relative]
        others = [plugin for plugin in filters if not plugin.per_node]
        ranking = self._ranking(state, info, [plugin for plugin in filters if plugin.per_node], lonely)
        refused: dict[str, Status] = {}

        def accept(node: NodeInfo) -> bool:
            status = _filtered(others, state, info, node)
            if status is not None:
                refused[node.name] = status
            return status is None

        if len(lonely) == len(scorers):
            name = ranking.best(accept)
        else:
            asked = accept if others else None
            name = self._relatively_best(state, info, ranking, asked, {plugin.name for plugin in lonely})
        if name is None:
            diagnosis.statuses = ranking.statuses | refused
            diagnosis.plugins.update(status.plugin for status in diagnosis.statuses.values())
            raise Unschedulable(diagnosis, state)
        return name

    def _ranking(self, state: CycleState, info: PodInfo, filters: list[Plugin], scorers: list[Plugin]) -> Ranking:
        """Return the ranking for the pod's kind, up to date."""
        by_images = any(plugin.name == "ImageLocality" for plugin in scorers)
        images = (self._cache.image_epoch, len(self._cache.nodes)) if by_images else None
        key = info.shape.core, images, tuple(plugin.name for plugin in (*filters, *scorers))
        ranking = self._rankings.get(key)
        if ranking is None:
            ranking = self._rankings[key] = Ranking(self._cache)
            if len(self._rankings) > _RANKINGS:
                self._rankings.popitem(last=False)
        else:
            self._rankings.move_to_end(key)
        weighted = [(plugin.score, self.profile.weights[plugin.name]) for plugin in scorers]

        def evaluate(node: NodeInfo) -> Status | int:
            status = _filtered(filters, state, info, node)
            if status is not None:
                return status
            return sum(score(state, info, node) * weight for score, weight in weighted)

        ranking.refresh(evaluate)
        return ranking

    def _relatively_best(
        self, state: CycleState, info: PodInfo, ranking: Ranking, accept: Accept | None, known: set[str]
    ) -> str | None:
        """Add to the ranking's scores what compares nodes with each other (`known` plugins are in them).

        `accept` is asked for what cannot be known from a node alone, None: nothing.
        """
        names = list(ranking.scores)
        enough = self._enough(len(self._cache.nodes))
        start = self._start % len(names) if names else 0
        nodes: list[NodeInfo] = []
        for name in chain(islice(names, start, None), islice(names, start)):
            self._start += 1
            node = self._cache.nodes[name]
            if accept is None or accept(node):
                nodes.append(node)
                if len(nodes) >= enough:
                    break
        if len(nodes) < 2:
            return nodes[0].name if nodes else None
        scorers = [plugin for plugin in self._pre_score(state, info, nodes) if plugin.name not in known]
        return self._highest(state, info, nodes, scorers, {node.name: ranking.scores[node.name] for node in nodes})


def _filtered(filters: list[Plugin], state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
    for plugin in filters:
        status = plugin.filter(state, info, node)
        if status is not None:
            return status
    return None


def _listed(names: list[str]) -> str:
    return "[" + " ".join(names) + "]"
