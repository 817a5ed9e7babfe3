"""The node lifecycle controller: notices nodes that fall silent, and taints nodes by their conditions.

Watches nodes, their leases in ``kube-node-lease`` and their pods. Writes node conditions (``Unknown`` after the grace
period without a heartbeat), the taints of conditions, and ``Ready=False`` of the pods of a node that is not ready.
Silence is measured on this process's clock, from when it last saw a heartbeat change, so the clocks of nodes do not matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import LEASES, NODES, PODS
from wherry.client.cache import by_node
from wherry.client.client import STRATEGIC_PATCH
from wherry.client.events import NORMAL
from wherry.controllers.controller import Controller, gather_all
from wherry.util import clock

_LEASE_NAMESPACE = "kube-node-lease"
_NODE = "node"
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OF_CONDITION = {
    ("Ready", "False"): _NOT_READY,
    ("Ready", "Unknown"): _UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
_MONITORED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True, slots=True)
class Inputs:
    """`silent_for` is how many seconds ago the last heartbeat was seen to change."""

    node: Object
    silent_for: float
    grace_period: float
    now: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """Conditions to write (None: they are right) and the taints that the node must have then."""

    conditions: list[Object] | None
    taints: list[Object]


def plan(inputs: Inputs) -> Plan:
    """Return the conditions and taints of a node."""
    node = inputs.node
    conditions: list[Object] = list((node.get("status") or {}).get("conditions") or ())
    silent = inputs.silent_for > inputs.grace_period
    unknown = _unknown(node, conditions, now=inputs.now) if silent else conditions
    return Plan(unknown if unknown != conditions else None, taints_of(node, unknown, now=inputs.now))


def _unknown(node: Object, conditions: list[Object], *, now: datetime) -> list[Object]:
    stamp, result = clock.timestamp(now), conditions
    for kind in _MONITORED:
        before = next((entry for entry in result if entry["type"] == kind), None)
        if before is None:
            new = {
                "type": kind, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": node["metadata"].get("creationTimestamp", stamp),
            }  # fmt: skip
        elif before["status"] == "Unknown":
            continue
        else:
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
            new = {**before, "status": "Unknown", "reason": reason, "message": message}
        result = meta.with_condition(result, new, now=stamp)
    return result


def taints_of(node: Object, conditions: Iterable[Object], *, now: datetime) -> list[Object]:
    """Return the node's taints: those of its conditions brought up to date, all others as they are."""
    spec = node.get("spec") or {}
    keys = [key for entry in conditions if (key := _OF_CONDITION.get((entry["type"], entry["status"])))]
    wanted = [(key, "NoSchedule") for key in keys] + (
        [(_UNSCHEDULABLE, "NoSchedule")] if spec.get("unschedulable") else []
    )
    wanted += [(key, "NoExecute") for key in keys if key in (_NOT_READY, _UNREACHABLE)]
    managed = {(key, "NoSchedule") for key in (*_OF_CONDITION.values(), _UNSCHEDULABLE)}
    managed |= {(_NOT_READY, "NoExecute"), (_UNREACHABLE, "NoExecute")}
    kept = [
        taint
        for taint in spec.get("taints") or ()
        if (taint["key"], taint["effect"]) not in managed or (taint["key"], taint["effect"]) in wanted
    ]
    present = {(taint["key"], taint["effect"]) for taint in kept}
    stamp = clock.timestamp(now)
    return kept + [
        {"key": key, "effect": effect, "timeAdded": stamp} for key, effect in wanted if (key, effect) not in present
    ]


class NodeLifecycleController(Controller):
    name = "node-controller"
    workers = 2

    def register(self) -> None:
        self._nodes = self.watch(NODES)
        self._leases = self.watch(LEASES, _node_of_lease)
        self._pods = self.informer(PODS)
        self._pods.add_index(_NODE, by_node)
        self._heartbeats: dict[str, tuple[object, float]] = {}

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.lister.get(key)
        if node is None:
            self._heartbeats.pop(key, None)
            return None
        grace = self.settings.node_monitor_grace_period
        silent_for = self._silent_for(node)
        todo = plan(Inputs(node, silent_for, grace, clock.now()))
        if todo.conditions is not None:
            node = await self._write_conditions(key, node, todo.conditions)
        if todo.taints != ((node.get("spec") or {}).get("taints") or []):
            await self._write_taints(key, node, todo.taints)
        ready = meta.condition(node, "Ready")
        if ready is not None and ready["status"] != "True":
            await gather_all(self._mark_not_ready(pod) for pod in self._pods.lister.by_index(_NODE, key))
        return max(0.1, grace - silent_for + 0.1) if silent_for <= grace else None

    def _silent_for(self, node: Object) -> float:
        """Return the seconds since the lease or a heartbeat time of the status last changed."""
        lease = self._leases.lister.get(f"{_LEASE_NAMESPACE}/{meta.name(node)}")
        status = (node.get("status") or {}).get("conditions") or ()
        beats = [entry.get("lastHeartbeatTime") for entry in status if entry["status"] != "Unknown"]
        seen = ((lease or {}).get("spec", {}).get("renewTime"), beats)
        now = clock.monotonic()
        before = self._heartbeats.get(meta.name(node))
        if before is None or before[0] != seen:
            if before is None or _is_beat(before[0], seen):
                self._heartbeats[meta.name(node)] = (seen, now)
                return 0.0
            self._heartbeats[meta.name(node)] = (seen, before[1])
        return now - self._heartbeats[meta.name(node)][1]

    async def _write_conditions(self, key: str, node: Object, conditions: list[Object]) -> Object:
        changed = {**node, "status": {**(node.get("status") or {}), "conditions": conditions}}
        answer = self.wrote(key, NODES, await self.client.update_status(NODES, changed))
        message = f"Node {key} status is now: NodeNotReady"
        self.recorder.event(node, NORMAL, "NodeNotReady", message)
        return answer

    async def _write_taints(self, key: str, node: Object, taints: list[Object]) -> None:
        patch = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "spec": {"taints": taints or None},
        }
        try:
            self.wrote(key, NODES, await self.client.patch(NODES, key, patch))
        except errors.NotFound:
            return

    async def _mark_not_ready(self, pod: Object) -> None:
        """Say that a pod is not ready when nobody is there to say it."""
        if not meta.is_true(pod, "Ready"):
            return
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": clock.timestamp()}
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": {"conditions": [condition]}}
        name, namespace = meta.name(pod), meta.namespace(pod)
        try:
            await self.client.patch(PODS, name, patch, namespace, subresource="status", content_type=STRATEGIC_PATCH)
        except (errors.NotFound, errors.Conflict):
            return


def _is_beat(before: object, seen: object) -> bool:
    """Tell whether the change is a sign of life: of the lease, or of the conditions' times but not of their number."""
    if not isinstance(before, tuple) or not isinstance(seen, tuple):
        return True
    return before[0] != seen[0] or len(seen[1]) >= len(before[1])


def _node_of_lease(lease: Object) -> Iterable[str]:
    return (meta.name(lease),) if meta.namespace(lease) == _LEASE_NAMESPACE else ()
