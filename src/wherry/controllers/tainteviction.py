"""The taint eviction controller: deletes pods from nodes whose ``NoExecute`` taints they do not tolerate (any longer).

Watches pods that are bound, and nodes. Deletes pods. Guarantees that a pod stays for the shortest ``tolerationSeconds``
of the tolerations that it needs, counted from when the taint was added, and that it stays for good when the taint goes
before that.
"""

from collections.abc import Iterable
from datetime import datetime

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import NODES, PODS
from wherry.client.cache import by_node
from wherry.client.client import STRATEGIC_PATCH
from wherry.client.events import NORMAL
from wherry.controllers import pods as podutil
from wherry.controllers.controller import Controller
from wherry.controllers.nodefit import tolerates
from wherry.util import clock

_NODE = "node"


def evict_in(pod: Object, taints: Iterable[Object], *, now: datetime) -> float | None:
    """Return the seconds until the pod has to go (0 or less: now), None when it may stay."""
    tolerations = pod["spec"].get("tolerations") or ()
    waits: list[float] = []
    for taint in taints:
        if taint.get("effect") != "NoExecute":
            continue
        fitting = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not fitting:
            return 0.0
        limits = [toleration["tolerationSeconds"] for toleration in fitting if "tolerationSeconds" in toleration]
        if limits:
            added = clock.parse(taint["timeAdded"]) if taint.get("timeAdded") else now
            waits.append(min(limits) - (now - added).total_seconds())
    return min(waits, default=None)


class TaintEvictionController(Controller):
    name = "taint-eviction-controller"

    def register(self) -> None:
        self._nodes = self.watch(NODES, self._pods_on, changed=_taints_changed)
        self._pods = self.watch(PODS, changed=_placement_changed)
        self._pods.add_index(_NODE, by_node)
        self._marked: set[str] = set()

    def _pods_on(self, node: Object) -> Iterable[str]:
        return [meta.key_of(pod) for pod in self._pods.lister.by_index(_NODE, meta.name(node))]

    async def reconcile(self, key: str) -> float | None:
        pod = self._pods.lister.get(key)
        if pod is None or meta.is_deleting(pod) or podutil.is_finished(pod) or not pod["spec"].get("nodeName"):
            self._marked.discard(key)
            return None
        node = self._nodes.lister.get(pod["spec"]["nodeName"])
        left = evict_in(pod, ((node or {}).get("spec") or {}).get("taints") or (), now=clock.now())
        if left is None:
            if key in self._marked:
                self._marked.discard(key)
                self.recorder.event(pod, NORMAL, "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return None
        self._marked.add(key)
        if left > 0:
            return left
        self._marked.discard(key)
        self.recorder.event(pod, NORMAL, "TaintManagerEviction", f"Marking for deletion Pod {key}")
        await self._evict(pod)
        return None

    async def _evict(self, pod: Object) -> None:
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": clock.timestamp(),
        }  # fmt: skip
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": {"conditions": [condition]}}
        name, namespace = meta.name(pod), meta.namespace(pod)
        try:
            await self.client.patch(PODS, name, patch, namespace, subresource="status", content_type=STRATEGIC_PATCH)
            await self.client.delete(PODS, name, namespace, options={"preconditions": {"uid": meta.uid(pod)}})
        except (errors.NotFound, errors.Conflict):
            return


def _taints_changed(old: Object, new: Object) -> bool:
    return (old.get("spec") or {}).get("taints") != (new.get("spec") or {}).get("taints")


def _placement_changed(old: Object, new: Object) -> bool:
    return any(old["spec"].get(name) != new["spec"].get(name) for name in ("nodeName", "tolerations"))
