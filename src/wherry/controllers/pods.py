"""What several controllers ask of pods (kubernetes ``pkg/controller/controller_utils.go`` and ``pkg/api/v1/pod``)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from wherry.api import meta
from wherry.api.meta import Object
from wherry.util import clock

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


def phase(pod: Object) -> str:
    """Return the pod's phase; a pod without one is Pending."""
    return (pod.get("status") or {}).get("phase") or "Pending"


def is_finished(pod: Object) -> bool:
    """Tell whether the pod has Succeeded or Failed."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Tell whether the pod counts as a replica: neither finished nor being deleted."""
    return not is_finished(pod) and not meta.is_deleting(pod)


def is_terminating(pod: Object) -> bool:
    """Tell whether the pod is being deleted and has not finished."""
    return meta.is_deleting(pod) and not is_finished(pod)


def is_ready(pod: Object) -> bool:
    """Tell whether the pod's Ready condition is true."""
    return meta.is_true(pod, "Ready")


def ready_since(pod: Object) -> datetime | None:
    """Return when the pod became ready, None when it is not ready or does not say."""
    found = meta.condition(pod, "Ready")
    if found is None or found.get("status") != "True" or not found.get("lastTransitionTime"):
        return None
    return clock.parse(found["lastTransitionTime"])


def available_in(pod: Object, min_ready_seconds: int, now: datetime) -> float | None:
    """Return the seconds until the pod is available (0: it is), None when it is not ready."""
    if not is_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    since = ready_since(pod)
    if since is None:
        return None
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def is_available(pod: Object, min_ready_seconds: int, now: datetime) -> bool:
    """Tell whether the pod has been ready for `min_ready_seconds`."""
    return available_in(pod, min_ready_seconds, now) == 0.0


def max_restarts(pod: Object) -> int:
    """Return the highest restart count of the pod's containers."""
    status = pod.get("status") or {}
    return max((entry.get("restartCount", 0) for entry in status.get("containerStatuses") or ()), default=0)


def deletion_cost(pod: Object) -> int:
    """Return the pod's deletion cost; what is no 32-bit number counts as 0."""
    try:
        cost = int(meta.annotations(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0
    return cost if -(2**31) <= cost < 2**31 else 0


def rank_for_deletion(pods: Iterable[Object], *, related_on_node: Mapping[str, int], now: datetime) -> Sequence[Object]:
    """Return pods in the order in which a scale-down deletes them.

    Unassigned before assigned, Pending before Unknown before Running, not ready before ready, low deletion cost before
    high, on nodes with more related pods (`related_on_node`, by node name) before fewer, ready or created more recently
    (to the power of two of nanoseconds) before earlier, more restarts before fewer.
    """

    def rank(pod: Object) -> tuple[object, ...]:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        since = ready_since(pod)
        return (
            bool(node),
            _PHASE_RANK.get(phase(pod), 2),
            is_ready(pod),
            deletion_cost(pod),
            -related_on_node.get(node, 0),
            _age_rank(since, now) if since is not None else math.inf,
            -max_restarts(pod),
            _age_rank(clock.parse(pod["metadata"]["creationTimestamp"]), now),
            meta.uid(pod),
        )

    return sorted(pods, key=rank)


def _age_rank(at: datetime, now: datetime) -> int:
    age = (now - at).total_seconds() * 1e9
    return int(math.log2(age)) if age > 0 else -1


def from_template(template: Object, owner: Object, *, name: str = "", generate_name: str = "") -> Object:
    """Return a pod to create from a pod template, controlled by `owner`."""
    found = template.get("metadata") or {}
    md: Object = {"ownerReferences": [meta.controller_ref(owner)]}
    if name:
        md["name"] = name
    else:
        md["generateName"] = generate_name or f"{meta.name(owner)}-"
    for part in ("labels", "annotations", "finalizers"):
        if found.get(part):
            md[part] = meta.copy(found[part]) if part != "finalizers" else list(found[part])
    md["namespace"] = meta.namespace(owner)
    return {"kind": "Pod", "apiVersion": "v1", "metadata": md, "spec": meta.copy(template["spec"])}
