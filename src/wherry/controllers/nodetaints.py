"""The taints that a node's conditions ask for (kubernetes ``pkg/controller/nodelifecycle``)."""

from wherry.api import meta
from wherry.api.meta import Object

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"

_BY_CONDITION = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
_MANAGED = frozenset({*_BY_CONDITION.values(), UNSCHEDULABLE})


def taints_of(node: Object) -> list[Object]:
    """Return the node's taints."""
    return (node.get("spec") or {}).get("taints") or []


def no_schedule(node: Object, *, now: str) -> list[Object]:
    """Return the node's taints with the NoSchedule ones as its conditions and ``spec.unschedulable`` ask for.

    New ones have `now` (RFC 3339) as ``timeAdded``; taints of other keys and effects stay.
    """
    conditions = (node.get("status") or {}).get("conditions") or ()
    wanted = [key for entry in conditions if (key := _BY_CONDITION.get((entry["type"], entry["status"]))) is not None]
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.append(UNSCHEDULABLE)
    return _swapped(taints_of(node), wanted, managed=_MANAGED, effect=NO_SCHEDULE, now=now)


def no_execute(node: Object, key: str | None, *, now: str) -> list[Object]:
    """Return the node's taints with the NoExecute one of `key` (not-ready or unreachable; None: neither)."""
    managed = frozenset({NOT_READY, UNREACHABLE})
    return _swapped(taints_of(node), [key] if key else [], managed=managed, effect=NO_EXECUTE, now=now)


def eviction_taint(node: Object) -> str | None:
    """Return the key of the NoExecute taint that the Ready condition asks for, None for a ready node."""
    ready = meta.condition(node, "Ready")
    if ready is None:
        return UNREACHABLE
    return _BY_CONDITION.get(("Ready", ready["status"]))


def _swapped(
    taints: list[Object], wanted: list[str], *, managed: frozenset[str], effect: str, now: str
) -> list[Object]:
    kept = [t for t in taints if t.get("effect") != effect or t["key"] not in managed or t["key"] in wanted]
    present = {taint["key"] for taint in kept if taint.get("effect") == effect}
    added = [{"key": key, "effect": effect, "timeAdded": now} for key in wanted if key not in present]
    return [*kept, *added]
