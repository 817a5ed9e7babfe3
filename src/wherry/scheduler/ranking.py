"""The nodes in the order of their scores, for pods that are alike; only what changed is looked at again.

This holds where filters and scores depend on the pod's shape and one node alone (`Plugin.per_node`): after a pod was
placed, one node's score is different, and the next pod of the same shape needs that one computed anew.
"""

import heapq
import random
from collections.abc import Callable

from wherry.scheduler.cache import Cache
from wherry.scheduler.framework import Status
from wherry.scheduler.nodeinfo import NodeInfo

Evaluate = Callable[[NodeInfo], "Status | int"]
"""Returns the weighted score of a node, or why it cannot take the pod."""

Accept = Callable[[NodeInfo], bool]


class Ranking:
    """Feasible nodes as a heap, best first; equal ones in random order.

    `scores` are those of the feasible nodes, `statuses` the refusals of the others; `refresh` brings both up to date.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._position = -1
        self._heap: list[tuple[int, float, str]] = []
        self.scores: dict[str, int] = {}
        self.statuses: dict[str, Status] = {}

    def best(self, accept: Accept) -> str | None:
        """Return the name of the best node that `accept` takes, None when there is none.

        `accept` is asked in the order of the scores, for what cannot be known from a node alone.
        """
        heap, scores = self._heap, self.scores
        passed: list[tuple[int, float, str]] = []
        found = None
        while heap:
            entry = heap[0]
            name = entry[2]
            if scores.get(name) != -entry[0]:
                heapq.heappop(heap)
                continue
            if accept(self._cache.nodes[name]):
                found = name
                break
            passed.append(heapq.heappop(heap))
        for entry in passed:
            heapq.heappush(heap, entry)
        return found

    def refresh(self, evaluate: Evaluate) -> None:
        """Look again at the nodes that changed since the last time."""
        changed = self._cache.changed_since(self._position) if self._position >= 0 else None
        self._position = self._cache.position
        if changed is None or len(self._heap) > 4 * len(self._cache.nodes) + 64:
            self._heap.clear()
            self.scores.clear()
            self.statuses.clear()
            changed = self._cache.nodes
        for name in changed:
            node = self._cache.nodes.get(name)
            result = evaluate(node) if node is not None else None
            if isinstance(result, int):
                self.statuses.pop(name, None)
                if self.scores.get(name) != result:
                    self.scores[name] = result
                    heapq.heappush(self._heap, (-result, random.random(), name))
            else:
                self.scores.pop(name, None)
                self.statuses.pop(name, None)
                if result is not None:
                    self.statuses[name] = result
