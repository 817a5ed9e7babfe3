"""Prefers nodes that have a pod's images, the more the fewer others have them."""

from collections.abc import Sequence

from wherry.scheduler.framework import MAX_SCORE, SKIP, CycleState, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo

_MEBIBYTE = 1024 * 1024
_LEAST, _MOST_PER_CONTAINER = 23 * _MEBIBYTE, 1000 * _MEBIBYTE


class ImageLocality(Plugin):
    name = "ImageLocality"
    per_node = True

    def pre_score(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> Status | None:
        return None if any(image in self.cache.images for image in info.shape.images) else SKIP

    def score(self, state: CycleState, info: PodInfo, node: NodeInfo) -> int:
        total = len(self.cache.nodes)
        weighted = 0
        for image in info.shape.images:
            if image in node.images:
                weighted += node.images[image] * len(self.cache.images[image]) // total
        most = _MOST_PER_CONTAINER * max(info.shape.containers, 1)
        return MAX_SCORE * (min(max(weighted, _LEAST), most) - _LEAST) // (most - _LEAST)
