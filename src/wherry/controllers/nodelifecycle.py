"""The node lifecycle controller: what a node's condition means for its pods.

Watches nodes, their leases and pods. Writes taints (NoSchedule for every bad condition, NoExecute for a node that is
not ready), the OS and architecture labels, the conditions of nodes that fell silent, and the Ready condition of the
pods on them. Guarantees that the taints follow the conditions at once, and that NoExecute taints come no faster than
the state of the node's zone allows: none at all when every node is lost, since then the fault is hardly the nodes'.
Evicts no pods: the taint eviction controller does.
"""

from collections import defaultdict
from typing import ClassVar

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import LEASES, NODES, PODS
from wherry.client.cache import by_node
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import nodehealth
from wherry.controllers.controller import Controller, gather_all
from wherry.controllers.nodehealth import Limiter, Seen, all_lost, eviction_rate, zone_of
from wherry.controllers.nodetaints import eviction_taint, no_execute, no_schedule, taints_of
from wherry.util import clock

_LEASES = "kube-node-lease"
_LABELS = (("beta.kubernetes.io/os", "kubernetes.io/os"), ("beta.kubernetes.io/arch", "kubernetes.io/arch"))
_BY_NODE = "node"
_MONITOR = ""
"""The key of the periodic look at all nodes; no node has an empty name."""


def missing_labels(node: Object) -> dict[str, str]:
    """Return the stable labels that the deprecated ones of the node have a value for, and vice versa."""
    labels, result = meta.labels(node), {}
    for old, new in _LABELS:
        value = labels.get(new) or labels.get(old)
        if value:
            result.update({key: value for key in (old, new) if labels.get(key) != value})
    return result


class NodeLifecycleController(Controller):
    name = "node-lifecycle-controller"
    account = "node-controller"
    component = "node-controller"
    workers: ClassVar[int] = 2

    def register(self) -> None:
        self._nodes = self.watch(NODES)
        self._pods = self.informer(PODS)
        self._pods.add_index(_BY_NODE, by_node)
        self._leases = self.informers.informer(LEASES, namespace=_LEASES)
        self._seen: dict[str, Seen] = {}
        self._unready: set[str] = set()
        self._limiters: defaultdict[str, Limiter] = defaultdict(Limiter)
        self.queue.add(_MONITOR)

    async def reconcile(self, key: str) -> float | None:
        if key == _MONITOR:
            await self._monitor()
            return self.settings.node_monitor_period
        node = self._nodes.lister.get(key)
        if node is None or meta.is_deleting(node):
            return None
        now = clock.timestamp()
        taints = no_schedule(node, now=now)
        if meta.is_true(node, "Ready"):
            taints = no_execute({"spec": {"taints": taints}}, None, now=now)
        await self._write(key, node, taints, missing_labels(node))
        return None

    async def _write(self, key: str, node: Object, taints: list[Object], labels: dict[str, str]) -> None:
        patch: Object = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}}
        if labels:
            patch["metadata"]["labels"] = labels
        if taints != taints_of(node):
            patch["spec"] = {"taints": taints or None}
        if labels or "spec" in patch:
            try:
                self.wrote(key, NODES, await self.client.patch(NODES, meta.name(node), patch))
            except errors.NotFound:
                return

    async def _monitor(self) -> None:
        nodes = {meta.name(node): node for node in self._nodes.lister.list()}
        self._note_arrivals(nodes)
        await gather_all([self._check(node) for node in nodes.values() if not self._is_well(node)])
        await self._wait_own_writes(_MONITOR)
        await self._evict()

    def _note_arrivals(self, nodes: dict[str, Object]) -> None:
        now = clock.seconds()
        for name, node in nodes.items():
            lease = self._leases.lister.get(f"{_LEASES}/{name}")
            if name not in self._seen:
                text = f"Node {name} event: Registered Node {name} in Controller"
                self.recorder.event(node, NORMAL, "RegisteredNode", text)
            self._seen[name] = nodehealth.observe(self._seen.get(name), node, lease, now=now)
        for name in [name for name in self._seen if name not in nodes]:
            del self._seen[name]
            self._unready.discard(name)
            gone: Object = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}}
            text = f"Node {name} event: Removing Node {name} from Controller"
            self.recorder.event(gone, NORMAL, "RemovingNode", text)

    def _is_well(self, node: Object) -> bool:
        """Tell whether there is nothing to do about a node: nearly all of them, nearly always."""
        name = meta.name(node)
        lost = nodehealth.is_lost(self._seen[name], now=clock.seconds(), grace=self.settings.node_monitor_grace_period)
        return not lost and name not in self._unready and meta.is_true(node, "Ready")

    async def _check(self, node: Object) -> None:
        name, was_ready = meta.name(node), meta.is_true(node, "Ready")
        if nodehealth.is_lost(self._seen[name], now=clock.seconds(), grace=self.settings.node_monitor_grace_period):
            conditions = nodehealth.unknown_conditions(node, now=clock.timestamp())
            if conditions is not None:
                status = {**(node.get("status") or {}), "conditions": conditions}
                node = await self.client.update_status(NODES, {**node, "status": status})
                self.wrote(_MONITOR, NODES, node)
        if meta.is_true(node, "Ready"):
            self._unready.discard(name)
            return
        if name not in self._unready:
            if was_ready:
                self.recorder.event(node, NORMAL, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
            await gather_all(self._mark_not_ready(pod) for pod in self._pods.lister.by_index(_BY_NODE, name))
            self._unready.add(name)

    async def _mark_not_ready(self, pod: Object) -> None:
        ready = meta.condition(pod, "Ready")
        if ready is None or ready["status"] != "True":
            return
        conditions = meta.with_condition(
            pod["status"]["conditions"], {**ready, "status": "False"}, now=clock.timestamp()
        )
        try:
            await self.client.update_status(PODS, {**pod, "status": {**pod["status"], "conditions": conditions}})
        except errors.NotFound:
            return
        self.recorder.event(pod, WARNING, "NodeNotReady", "Node is not ready")

    async def _evict(self) -> None:
        """Give NoExecute taints to nodes that are not ready, as fast as their zones allow."""
        zones: defaultdict[str, list[Object]] = defaultdict(list)
        for node in self._nodes.lister.list():
            zones[zone_of(node)].append(node)
        now, stopped = clock.timestamp(), all_lost(zones.values())
        for zone, nodes in zones.items():
            self._measure(zone, nodes)
            rate = eviction_rate(nodes)
            for node in nodes:
                taints = no_execute(node, None if stopped else eviction_taint(node), now=now)
                if taints == taints_of(node):
                    continue
                # Only the first taint counts: to change its key, or to take it back, evicts nobody.
                evicts = len(taints) > len(taints_of(node))
                if not evicts or self._limiters[zone].allows(rate, now=clock.monotonic()):
                    await self._write(_MONITOR, node, taints, {})
                    if evicts:
                        self.meter.count("node_collector_evictions_total", zone=zone)

    def _measure(self, zone: str, nodes: list[Object]) -> None:
        ready = sum(meta.is_true(node, "Ready") for node in nodes)
        self.meter.set("node_collector_zone_size", len(nodes), zone=zone)
        self.meter.set("node_collector_zone_health", 100 * ready / len(nodes), zone=zone)
        self.meter.set("node_collector_unhealthy_nodes_in_zone", len(nodes) - ready, zone=zone)
