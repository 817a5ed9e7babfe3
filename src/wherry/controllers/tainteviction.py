"""The taint eviction controller: deletes the pods that may not be on their node any longer.

Watches pods and nodes. Writes the DisruptionTarget condition and deletes pods. Guarantees that a pod on a node with a
NoExecute taint is deleted at once when it does not tolerate the taint, and after the least of its tolerations'
seconds when it does, counted from when this process saw the taint first (a restart starts anew). Respects no
PodDisruptionBudget: the node is not coming back soon.
"""

from collections.abc import Iterable, Sequence

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import NODES, PODS
from wherry.api.selectors.nodes import tolerates
from wherry.client.cache import by_node
from wherry.client.events import NORMAL
from wherry.controllers.controller import Controller
from wherry.controllers.disruptions import mark_and_delete
from wherry.controllers.nodetaints import NO_EXECUTE, taints_of
from wherry.util import clock

_BY_NODE = "node"
_REASON = "DeletionByTaintManager"
_MESSAGE = "Taint manager: deleting due to NoExecute taint"


def evicting_taints(node: Object | None) -> list[Object]:
    """Return the NoExecute taints of a node (None: of a node that is not there)."""
    return [taint for taint in taints_of(node) if taint.get("effect") == NO_EXECUTE] if node else []


def may_stay(taints: Sequence[Object], tolerations: Sequence[Object]) -> float | None:
    """Return the seconds that a pod may stay on a node with these NoExecute taints, None when for ever."""
    used = []
    for taint in taints:
        found = next((toleration for toleration in tolerations if tolerates(toleration, taint)), None)
        if found is None:
            return 0.0
        used.append(found)
    limits = [found["tolerationSeconds"] for found in used if found.get("tolerationSeconds") is not None]
    return max(0.0, float(min(limits))) if limits else None


class TaintEvictionController(Controller):
    name = "taint-eviction-controller"
    account = "node-controller"
    workers = 8

    def register(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}
        self._nodes = self.informer(NODES)
        self._pods = self.watch(PODS, self._endangered, changed=_placed_anew)
        self._pods.add_index(_BY_NODE, by_node)
        self.watch(NODES, self._pods_on, changed=lambda old, new: evicting_taints(old) != evicting_taints(new))

    def _endangered(self, pod: Object) -> Iterable[str]:
        """The pods of a node whose taints come later are found when they come."""
        key = meta.key_of(pod)
        node = pod["spec"].get("nodeName")
        if key in self._since or (node and evicting_taints(self._nodes.lister.get(node))):
            yield key

    def _pods_on(self, node: Object) -> Iterable[str]:
        return [meta.key_of(pod) for pod in self._pods.lister.by_index(_BY_NODE, meta.name(node))]

    async def reconcile(self, key: str) -> float | None:
        pod = self._pods.lister.get(key)
        if pod is None or meta.is_deleting(pod) or not pod["spec"].get("nodeName"):
            self._since.pop(key, None)
            return None
        taints = evicting_taints(self._nodes.lister.get(pod["spec"]["nodeName"]))
        left = may_stay(taints, pod["spec"].get("tolerations") or ()) if taints else None
        if left is None:
            if self._since.pop(key, None) is not None:
                self.recorder.event(pod, NORMAL, "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return None
        uid, since = self._since.get(key, ("", 0.0))
        if uid != meta.uid(pod):
            since = clock.monotonic()
            self._since[key] = (meta.uid(pod), since)
        left -= clock.monotonic() - since
        if left > 0:
            return left
        self.recorder.event(pod, NORMAL, "TaintManagerEviction", f"Marking for deletion Pod {key}")
        await mark_and_delete(self.client, pod, reason=_REASON, message=_MESSAGE)
        self.meter.count("taint_eviction_controller_pod_deletions_total")
        return None


def _placed_anew(old: Object, new: Object) -> bool:
    before, after = old["spec"], new["spec"]
    return (
        before.get("nodeName") != after.get("nodeName")
        or before.get("tolerations") != after.get("tolerations")
        or meta.is_deleting(old) != meta.is_deleting(new)
    )
