"""The pod garbage collector: pods that nobody else removes.

Watches pods and nodes. Deletes, without grace: pods bound to a node that has not existed for 40 seconds (read from the
server first; they get the condition DisruptionTarget), pods that are being deleted and never were bound or whose node
is not ready and out of service, and beyond the threshold the oldest finished pods. A pod that had not finished is
marked Failed first, since no kubelet will.
"""

from collections.abc import Iterable

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import NODES, PODS
from wherry.client.cache import by_node
from wherry.controllers import pods as podutil
from wherry.controllers.controller import Controller, gather_all
from wherry.controllers.disruptions import mark_failed
from wherry.controllers.nodetaints import taints_of
from wherry.util import clock

_NODE = "node"
_FINISHED = "finished"
_QUARANTINE = 40.0
_PERIOD = 20.0
"""How long a pod may be a suspect before it is looked at."""

_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_NODE_KEY = "node:"
_FINISHED_KEY = "finished"


class PodGCController(Controller):
    name = "pod-garbage-collector"
    workers = 1

    def register(self) -> None:
        self._pods = self.watch(PODS, self._suspects, delay=_PERIOD)
        self._pods.add_index(_NODE, by_node)
        self._pods.add_index(_FINISHED, lambda pod: ("",) if podutil.is_finished(pod) else ())
        self._nodes = self.watch(
            NODES, self._affected, changed=lambda old, new: (old.get("spec") or {}) != (new.get("spec") or {})
        )
        self._nodes.add_handler(on_delete=lambda node: self.queue.add(_NODE_KEY + meta.name(node)))
        self._missing: dict[str, float] = {}

    def _suspects(self, pod: Object) -> Iterable[str]:
        node = pod["spec"].get("nodeName")
        if node and self._nodes.lister.get(node) is None:
            yield _NODE_KEY + node
        if meta.is_deleting(pod):
            yield meta.key_of(pod)
        if podutil.is_finished(pod):
            yield _FINISHED_KEY

    def _affected(self, node: Object) -> Iterable[str]:
        pods = self._pods.lister.by_index(_NODE, meta.name(node))
        return [meta.key_of(pod) for pod in pods if meta.is_deleting(pod)]

    async def reconcile(self, key: str) -> float | None:
        if key == _FINISHED_KEY:
            await self._collect_finished()
        elif key.startswith(_NODE_KEY):
            return await self._collect_of_node(key.removeprefix(_NODE_KEY))
        else:
            pod = self._pods.lister.get(key)
            if pod is not None and meta.is_deleting(pod) and self._nobody_ends(pod):
                await self._delete(pod, "")
        return None

    def _nobody_ends(self, pod: Object) -> bool:
        """Tell whether no kubelet will see to the end of the pod."""
        node = self._nodes.lister.get(pod["spec"].get("nodeName") or "")
        if not pod["spec"].get("nodeName"):
            return True
        out = node is not None and any(taint["key"] == _OUT_OF_SERVICE for taint in taints_of(node))
        return out and node is not None and not meta.is_true(node, "Ready")

    async def _collect_of_node(self, node: str) -> float | None:
        pods = self._pods.lister.by_index(_NODE, node)
        if self._nodes.lister.get(node) is not None or not pods:
            self._missing.pop(node, None)
            return None
        since = self._missing.setdefault(node, clock.monotonic())
        left = since + _QUARANTINE - clock.monotonic()
        if left > 0:
            return left
        try:
            await self.client.get(NODES, node)
        except errors.NotFound:
            await gather_all(self._delete(pod, "PodGC: node no longer exists") for pod in pods)
            return None
        self._missing.pop(node, None)
        return None

    async def _collect_finished(self) -> None:
        threshold = self.settings.terminated_pod_gc_threshold
        finished = self._pods.lister.by_index(_FINISHED, "")
        surplus = len(finished) - threshold
        if threshold > 0 and surplus > 0:
            finished.sort(key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), meta.name(pod)))
            await gather_all(self._delete(pod, "") for pod in finished[:surplus] if not meta.is_deleting(pod))

    async def _delete(self, pod: Object, message: str) -> None:
        try:
            if not podutil.is_finished(pod):
                await mark_failed(self.client, pod, reason="DeletionByPodGC", message=message)
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid(pod)}}
            await self.client.delete(PODS, meta.name(pod), meta.namespace(pod), options=options)
        except (errors.NotFound, errors.Conflict):
            return
