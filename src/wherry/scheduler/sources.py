"""Where the scheduler's picture comes from: informers feed the cache and the queue."""

from collections.abc import Container
from functools import partial

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import (
    CSINODES,
    DEVICECLASSES,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    RESOURCECLAIMS,
    RESOURCESLICES,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
)
from wherry.client.informer import InformerFactory
from wherry.scheduler.cache import Cache
from wherry.scheduler.podinfo import PodInfo, pod_info
from wherry.scheduler.queue import SchedulingQueue

# Changes that may let a pod be scheduled, by the kind that plugins name in their hints.
_OTHERS = {
    "PersistentVolumeClaim": PERSISTENTVOLUMECLAIMS,
    "PersistentVolume": PERSISTENTVOLUMES,
    "StorageClass": STORAGECLASSES,
    "CSINode": CSINODES,
    "ResourceClaim": RESOURCECLAIMS,
    "ResourceSlice": RESOURCESLICES,
    "DeviceClass": DEVICECLASSES,
}
KINDS = ("Pod", "AssignedPod", "Node", *_OTHERS)
"""All kinds of changes."""

_READ_ONLY = (PODDISRUPTIONBUDGETS, SERVICES, REPLICASETS, STATEFULSETS, REPLICATIONCONTROLLERS)
_ENDED = ("Succeeded", "Failed")


class Sources:
    """Handlers of Pods and Nodes; what they see is in the cache before the queue hears of it."""

    def __init__(
        self, factory: InformerFactory, cache: Cache, queue: SchedulingQueue, scheduler_names: Container[str]
    ) -> None:
        self._cache, self._queue, self._names = cache, queue, scheduler_names
        pods, nodes = factory.informer(PODS), factory.informer(NODES)
        self._informers = [pods, nodes]
        for kind, resource in _OTHERS.items():
            informer = factory.informer(resource)
            self._informers.append(informer)
            informer.add_handler(
                on_add=partial(self._other, kind, None),
                on_update=partial(self._other, kind),
                on_delete=partial(self._other_deleted, kind),
            )
        self._informers += [factory.informer(resource) for resource in _READ_ONLY]
        self._informers.append(factory.informer(NAMESPACES, metadata_only=True))
        nodes.add_handler(on_add=self._node_added, on_update=self._node_updated, on_delete=self._node_deleted)
        pods.add_handler(on_add=self._pod_added, on_update=self._pod_updated, on_delete=self._pod_deleted)

    async def wait_synced(self) -> None:
        """Wait until the cache holds the cluster."""
        for informer in self._informers:
            await informer.wait_synced()

    def _other(self, kind: str, old: Object | None, new: Object) -> None:
        self._queue.moved(kind, old, new)

    def _other_deleted(self, kind: str, old: Object) -> None:
        self._queue.moved(kind, old, None)

    # Nodes.

    def _node_added(self, node: Object) -> None:
        self._cache.set_node(node)
        self._queue.moved("Node", None, node)

    def _node_updated(self, old: Object, node: Object) -> None:
        if _same_node(old, node):
            return
        self._cache.set_node(node)
        self._queue.moved("Node", old, node)

    def _node_deleted(self, node: Object) -> None:
        self._cache.remove_node(meta.name(node))
        self._queue.moved("Node", node, None)

    # Pods.

    def _pod_added(self, pod: Object) -> None:
        if _ended(pod):
            return
        if node_name := pod["spec"].get("nodeName"):
            self._cache.set_pod(pod_info(pod), node_name)
            self._queue.moved("AssignedPod", None, pod)
        elif self._is_ours(pod) and not meta.is_deleting(pod):
            info = pod_info(pod)
            if nominated := (pod.get("status") or {}).get("nominatedNodeName"):
                self._cache.nominate(info, nominated)
            self._queue.add(info)

    def _pod_updated(self, old: Object, pod: Object) -> None:
        if _ended(pod):
            if not _ended(old):
                self._gone(old)
            return
        node_name = pod["spec"].get("nodeName")
        if not node_name:
            if self._is_ours(pod) and not self._cache.is_assumed(meta.key_of(pod)):
                self._waiting_updated(old, pod)
            return
        if not old["spec"].get("nodeName"):
            info = self._bound(pod)
            self._queue.delete(info.key)
            self._cache.nominate(info, "")
            self._cache.set_pod(info, node_name)
            self._queue.moved("AssignedPod", None, pod)
        elif _same_assigned(old, pod):
            self._cache.renew_pod(pod)
        else:
            self._cache.set_pod(pod_info(pod), node_name)
            self._queue.moved("AssignedPod", old, pod)

    def _bound(self, pod: Object) -> PodInfo:
        """Return the parsed pod; most were assumed, and are what they were but for their node."""
        assumed = self._cache.find_pod(meta.key_of(pod))
        if assumed is not None:
            before, after = assumed.pod["spec"], pod["spec"]
            if len(after) == len(before) + 1 and all(after.get(name) == value for name, value in before.items()):
                return PodInfo(pod, assumed.shape)
        return pod_info(pod)

    def _waiting_updated(self, old: Object, pod: Object) -> None:
        info = pod_info(pod)
        if meta.is_deleting(pod):
            self._queue.delete(info.key)
            self._cache.nominate(info, "")
            return
        if nominated := self._cache.nomination_of(info.key):
            self._cache.nominate(info, nominated)  # the pod as it is now
        changed = old["spec"] != pod["spec"] or meta.labels(old) != meta.labels(pod)
        self._queue.update(info, helps=lambda _: changed)

    def _pod_deleted(self, pod: Object) -> None:
        self._gone(pod)

    def _gone(self, pod: Object) -> None:
        key = meta.key_of(pod)
        if not pod["spec"].get("nodeName"):
            self._queue.delete(key)
            if nominated := self._cache.nomination_of(key):
                self._cache.nominate(pod_info(pod), "")
                self._queue.moved("AssignedPod", {**pod, "spec": {**pod["spec"], "nodeName": nominated}}, None)
        if self._cache.remove_pod(key) is not None:
            self._queue.moved("AssignedPod", pod, None)

    def _is_ours(self, pod: Object) -> bool:
        return (pod["spec"].get("schedulerName") or "default-scheduler") in self._names


def _sizes(pod: Object) -> list[object]:
    """Return what the status of a pod says about the resources that it holds."""
    status = pod.get("status") or {}
    entries = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    refusals = [c.get("reason") for c in status.get("conditions") or () if c["type"] == "PodResizePending"]
    return [refusals, *((entry.get("resources"), entry.get("allocatedResources")) for entry in entries)]


def _ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in _ENDED


def _same_assigned(old: Object, new: Object) -> bool:
    """Tell whether an update of a pod that has its node leaves all that scheduling looks at: it is a status mostly."""
    before, after = old["metadata"], new["metadata"]
    if old["spec"] is not new["spec"] and old["spec"] != new["spec"]:
        return False
    return all(before.get(name) == after.get(name) for name in ("labels", "annotations", "deletionTimestamp", "uid"))


def _same_node(old: Object, new: Object) -> bool:
    """Tell whether nothing changed that matters here: heartbeats come every few seconds."""
    if old.get("spec") != new.get("spec") or meta.labels(old) != meta.labels(new):
        return False
    before, after = old.get("status") or {}, new.get("status") or {}
    return all(before.get(name) == after.get(name) for name in ("allocatable", "images"))
