"""What preemption chooses among: nodes, each with the pods that would have to leave it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wherry.scheduler.podinfo import PodInfo


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node, and the pods that must leave it, the most important first; `violations` of disruption budgets."""

    node_name: str
    victims: Sequence[PodInfo]
    violations: int


def best(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate that hurts least."""
    return min(candidates, key=_cost)


def started(pod: PodInfo) -> str:
    """Return when a pod was started; one that was not yet is the latest."""
    return (pod.pod.get("status") or {}).get("startTime") or "9999"


class _Latest(str):
    """A time that sorts the latest first."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def _cost(candidate: Candidate) -> tuple[Any, ...]:
    """Order candidates as Kubernetes does: violations, highest priority, sum of priorities, number, start time."""
    if not candidate.victims:
        return (0,)
    highest = max(pod.priority for pod in candidate.victims)
    earliest = min(started(pod) for pod in candidate.victims if pod.priority == highest)
    # Priorities may be negative; shifted, so that more victims always cost more.
    priorities = sum(pod.priority + 2**31 for pod in candidate.victims)
    return candidate.violations, highest, priorities, len(candidate.victims), _Latest(earliest)
