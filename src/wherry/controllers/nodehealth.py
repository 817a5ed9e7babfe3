"""When a node counts as lost, and how fast the pods of lost nodes may be evicted (``pkg/controller/nodelifecycle``)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from wherry.api import meta
from wherry.api.meta import Object
from wherry.util import clock

_WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_UNHEALTHY_SHARE = 0.55
_UNHEALTHY_COUNT = 2
_LARGE_CLUSTER = 50
_RATE, _SLOW_RATE = 0.1, 0.01

STARTUP_GRACE = 60.0
"""Seconds that a node has to post its first status."""


class Seen(NamedTuple):
    """The last sign of life of a node: `at` is when it was noticed (seconds of the wall clock)."""

    at: float
    heartbeat: str | None
    renewed: str


def observe(before: Seen | None, node: Object, lease: Object | None, *, now: float) -> Seen:
    """Return the last sign of life: a new heartbeat in the Ready condition or a renewed lease, noticed at `now`."""
    ready = meta.condition(node, "Ready")
    heartbeat = None if ready is None else ready.get("lastHeartbeatTime", "")
    renewed = ((lease or {}).get("spec") or {}).get("renewTime") or ""
    if before is None:
        created = clock.parse(node["metadata"]["creationTimestamp"]).timestamp()
        return Seen(created if heartbeat is None else now, heartbeat, renewed)
    alive = (heartbeat, renewed) != (before.heartbeat, before.renewed)
    return Seen(now if alive else before.at, heartbeat, renewed)


def is_lost(seen: Seen, *, now: float, grace: float) -> bool:
    """Tell whether the node has been silent for longer than its grace period in seconds."""
    return now > seen.at + (STARTUP_GRACE if seen.heartbeat is None else grace)


def unknown_conditions(node: Object, *, now: str) -> list[Object] | None:
    """Return the conditions of a lost node, None when they say already that nothing is known."""
    conditions = list((node.get("status") or {}).get("conditions") or ())
    changed = False
    for kind in _WATCHED:
        old = meta.condition(node, kind)
        if old is not None and old["status"] == "Unknown":
            continue
        changed = True
        if old is None:
            conditions.append(
                {
                    "type": kind,
                    "status": "Unknown",
                    "lastHeartbeatTime": node["metadata"]["creationTimestamp"],
                    "lastTransitionTime": now,
                    "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.",
                }
            )
        else:
            unknown = {
                "status": "Unknown",
                "lastTransitionTime": now,
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
            }
            conditions[conditions.index(old)] = {**old, **unknown}
    return conditions if changed else None


class ZoneState(Enum):
    """How many of a zone's nodes are not ready."""

    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


def zone_of(node: Object) -> str:
    """Return what tells zones apart: region and zone."""
    labels = meta.labels(node)
    return f"{labels.get('topology.kubernetes.io/region', '')}:{labels.get('topology.kubernetes.io/zone', '')}"


def zone_state(nodes: Iterable[Object]) -> ZoneState:
    """Return the state of the zone that consists of `nodes`."""
    ready = [meta.is_true(node, "Ready") for node in nodes]
    lost = ready.count(False)
    if lost and lost == len(ready):
        return ZoneState.FULL
    if lost > _UNHEALTHY_COUNT and lost / len(ready) >= _UNHEALTHY_SHARE:
        return ZoneState.PARTIAL
    return ZoneState.NORMAL


def all_lost(zones: Iterable[Iterable[Object]]) -> bool:
    """Tell whether no node of any zone is ready: the fault is then rather with the control plane."""
    return all(zone_state(nodes) is ZoneState.FULL for nodes in zones)


def eviction_rate(nodes: Sequence[Object]) -> float:
    """Return how many of a zone's `nodes` a second may lose their pods."""
    if zone_state(nodes) is ZoneState.PARTIAL:
        return _SLOW_RATE if len(nodes) > _LARGE_CLUSTER else 0.0
    return _RATE


@dataclass(slots=True)
class Limiter:
    """Lets one thing through at a time, `rate` a second."""

    _next: float = 0.0

    def allows(self, rate: float, *, now: float) -> bool:
        """Tell whether one may pass at `now` (seconds), and count it."""
        if rate <= 0 or now < self._next:
            return False
        self._next = now + 1 / rate
        return True
