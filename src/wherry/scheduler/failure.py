"""How the scheduler words that no node can take a pod."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from wherry.scheduler.framework import Status

NO_NODES = "no nodes available to schedule pods"


@dataclass(slots=True)
class Diagnosis:
    """Why each node refused a pod: `statuses` by node; `absent` is that of the nodes which are not in it.

    `pre_filter` is the message of a plugin that refused all nodes at once, `post_filter` what preemption said.
    """

    total: int
    statuses: dict[str, Status] = field(default_factory=dict)
    absent: Status | None = None
    plugins: set[str] = field(default_factory=set)
    pre_filter: str = ""
    post_filter: str = ""

    def message(self) -> str:
        """Return ``0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods. preemption: …``."""
        if not self.total:
            return NO_NODES
        text = f"0/{self.total} nodes are available:"
        if self.pre_filter:
            text += f" {self.pre_filter}."
        else:
            counts = Counter(reason for status in self.statuses.values() for reason in status.reasons)
            if self.absent is not None and len(self.statuses) < self.total:
                counts.update({reason: self.total - len(self.statuses) for reason in self.absent.reasons})
            if counts:
                text += f" {histogram(counts)}."
        return f"{text} {self.post_filter}" if self.post_filter else text


def histogram(counts: dict[str, int]) -> str:
    """Return ``1 Insufficient cpu, 2 Too many pods``, in the order of the texts."""
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))


def preemption_message(total: int, reasons: Iterable[str]) -> str:
    """Return what preemption says when it helped nowhere."""
    counts = Counter(reasons)
    text = f"preemption: 0/{total} nodes are available:"
    return f"{text} {histogram(counts)}." if counts else text
