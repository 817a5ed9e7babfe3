"""Makes room for a pod by removing pods of lower priority, as few and as unimportant as possible."""

import random
from collections.abc import Sequence
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import PODDISRUPTIONBUDGETS
from wherry.client.informer import InformerFactory
from wherry.scheduler.failure import preemption_message
from wherry.scheduler.framework import Code, CycleState, Handle, Nomination, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.preemption import Candidate, best, started
from wherry.scheduler.selectors import label_selector

_NOT_HELPFUL = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"
_FEWEST_CANDIDATES, _PERCENT_OF_CANDIDATES = 100, 10


class DefaultPreemption(Plugin):
    name = "DefaultPreemption"

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None, *, factory: InformerFactory) -> None:
        super().__init__(cache, arguments)
        self._percent = int(self.arguments.get("minCandidateNodesPercentage", _PERCENT_OF_CANDIDATES))
        self._fewest = int(self.arguments.get("minCandidateNodesAbsolute", _FEWEST_CANDIDATES))
        self._budgets = factory.informer(PODDISRUPTIONBUDGETS).lister

    def post_filter(
        self, state: CycleState, info: PodInfo, statuses: dict[str, Status], handle: Handle
    ) -> Nomination | Status | None:
        if (why := self._ineligible(info, statuses)) is not None:
            return self.status(Code.UNSCHEDULABLE, f"preemption: {why}")
        total = len(self.cache.nodes)
        helpful = [name for name, status in statuses.items() if status.code is Code.UNSCHEDULABLE]
        refused = dict.fromkeys(statuses, _NOT_HELPFUL)
        candidates: list[Candidate] = []
        if not any(priority < info.priority for priority in self.cache.priorities):
            refused.update(dict.fromkeys(helpful, _NO_VICTIMS))
        else:
            enough = max(total * self._percent // 100, self._fewest)
            start = random.randrange(len(helpful)) if helpful else 0
            for name in helpful[start:] + helpful[:start]:
                node = self.cache.nodes.get(name)
                found = self._try(state, info, node, handle) if node is not None else _NOT_HELPFUL
                if isinstance(found, Candidate):
                    candidates.append(found)
                    if len(candidates) >= enough:
                        break
                else:
                    refused[name] = found
        if candidates:
            chosen = best(candidates)
            return Nomination(chosen.node_name, chosen.victims, candidates=candidates)
        reasons = [*refused.values(), *([_NOT_HELPFUL] * (total - len(refused)))]
        return Nomination("", message=preemption_message(total, reasons))

    def _ineligible(self, info: PodInfo, statuses: dict[str, Status]) -> str | None:
        if info.pod["spec"].get("preemptionPolicy") == "Never":
            return "not eligible due to preemptionPolicy=Never."
        nominated = self.cache.nodes.get(self.cache.nomination_of(info.key))
        if nominated is not None:
            status = statuses.get(nominated.name)
            leaving = any(pod.deleting and pod.priority < info.priority for pod in nominated.pods.values())
            if leaving and not (status is not None and status.code is Code.UNRESOLVABLE):
                return "not eligible due to a terminating pod on the nominated node."
        return None

    def _try(self, state: CycleState, info: PodInfo, node: NodeInfo, handle: Handle) -> Candidate | str:
        """Return the victims on one node, or why there are none that would help."""
        lower = [pod for pod in node.pods.values() if pod.priority < info.priority]
        if not lower:
            return _NO_VICTIMS
        trial, trial_state = node.clone(), state.clone()
        for pod in lower:
            handle.remove_pod(trial_state, info, pod, trial)
        if (status := handle.fits(trial_state, info, trial)) is not None:
            return status.message
        lower.sort(key=_importance)
        violating, others = self._split(lower)
        victims, violations = [], 0
        for group, counts in ((violating, True), (others, False)):
            for pod in group:
                # Spare whoever fits beside the pod, the most important first.
                handle.add_pod(trial_state, info, pod, trial)
                if handle.fits(trial_state, info, trial) is not None:
                    handle.remove_pod(trial_state, info, pod, trial)
                    victims.append(pod)
                    violations += counts
        return Candidate(node.name, sorted(victims, key=_importance), violations)

    def _split(self, pods: Sequence[PodInfo]) -> tuple[list[PodInfo], list[PodInfo]]:
        """Return the pods whose removal would violate a disruption budget, and the others."""
        budgets = [(budget, _allowed(budget)) for budget in self._budgets.list()]
        left = {meta.key_of(budget): allowed for budget, allowed in budgets}
        violating: list[PodInfo] = []
        others: list[PodInfo] = []
        for pod in pods:
            violates = False
            for budget, _ in budgets if pod.labels else ():
                if meta.namespace(budget) != pod.namespace or not _selects(budget, pod):
                    continue
                if meta.name(pod.pod) in ((budget.get("status") or {}).get("disruptedPods") or {}):
                    continue  # its eviction is counted already
                left[meta.key_of(budget)] -= 1
                violates = violates or left[meta.key_of(budget)] < 0
            (violating if violates else others).append(pod)
        return violating, others


def _allowed(budget: Object) -> int:
    return int((budget.get("status") or {}).get("disruptionsAllowed") or 0)


def _selects(budget: Object, pod: PodInfo) -> bool:
    selector = label_selector(budget["spec"].get("selector"))
    return bool(selector.requirements) and selector.matches(pod.labels)


def _importance(pod: PodInfo) -> tuple[int, str]:
    """Sort the most important first: higher priority, then longer running."""
    return -pod.priority, started(pod)
