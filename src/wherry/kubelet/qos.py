"""Quality-of-service classes (kubernetes.io/docs/concepts/workloads/pods/pod-qos)."""

from typing import Any

from wherry.api import meta

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"

_NAMES = ("cpu", "memory")


def qos_class(pod: meta.Object) -> str:
    """Return a pod's class: what the API server stored, else computed from its containers' CPU and memory."""
    stored = (pod.get("status") or {}).get("qosClass")
    return stored or compute_qos_class(pod)


def compute_qos_class(pod: meta.Object) -> str:
    """Return the class that a pod's resources lead to; resources of the pod as a whole decide alone."""
    spec = pod["spec"]
    declared: list[dict[str, Any]] = (
        [spec["resources"]]
        if (spec.get("resources") or {}).get("requests") or (spec.get("resources") or {}).get("limits")
        else [c.get("resources") or {} for c in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))]
    )
    found = [_positive(d.get(kind)) for d in declared for kind in ("requests", "limits")]
    if not any(found):
        return BEST_EFFORT
    for resources in declared:
        limits = _positive(resources.get("limits"))
        requests = _positive(resources.get("requests")) or limits
        if set(limits) != set(_NAMES) or any(requests.get(n, limits[n]) != limits[n] for n in _NAMES):
            return BURSTABLE
    return GUARANTEED


def _positive(values: dict[str, str] | None) -> dict[str, str]:
    return {n: v for n, v in (values or {}).items() if n in _NAMES and str(v).strip("0.") != ""}
