"""Objects that are served in two versions share one storage; here is how one form becomes the other.

A row of `STORED_AS` names the resource that holds the objects of another; `to_stored` and `from_stored` convert whole
objects. Custom resources convert through their definition's webhook and are registered at run time.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from wherry.api.resources import EVENTS, HORIZONTALPODAUTOSCALERS, Resource, builtin

Object = dict[str, Any]


class Conversion(NamedTuple):
    """How a served resource relates to the one that stores its objects.

    The functions do not change what they are given and return it when there is nothing to do. `fetch` and `send` stand
    for them where a webhook converts: `from_stored` of many objects, and `to_stored`.
    """

    stored: Resource
    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]
    fetch: Callable[[Sequence[Object]], Awaitable[list[Object]]] | None = None
    send: Callable[[Object], Awaitable[Object]] | None = None


_EVENT_NEW_TO_CORE = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "reportingController": "reportingComponent",
}
_EVENT_CORE_TO_NEW = {core: new for new, core in _EVENT_NEW_TO_CORE.items()}


# The core form always shows these, the new form likewise under its own names.
_EVENT_SHOWN: dict[str, Any] = {
    "involvedObject": {},
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}


def _event_to_core(obj: Object) -> Object:
    out = {_EVENT_NEW_TO_CORE.get(key, key): value for key, value in obj.items()}
    out["apiVersion"] = "v1"
    for key, value in _EVENT_SHOWN.items():
        out.setdefault(key, value)
    return out


def _event_from_core(obj: Object) -> Object:
    out = {_EVENT_CORE_TO_NEW.get(key, key): value for key, value in obj.items()}
    out["apiVersion"] = "events.k8s.io/v1"
    for key in ("reportingController", "reportingInstance"):
        if out.get(key) == "":
            del out[key]
    return out


_HPA_V1 = builtin("autoscaling", "v1", "horizontalpodautoscalers")
_CPU = "targetCPUUtilizationPercentage"


def _resource_cpu(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    return metric.get("type") == "Resource" and resource.get("name") == "cpu"


def _hpa_to_v2(obj: Object) -> Object:
    out = {**obj, "apiVersion": "autoscaling/v2", "metadata": dict(obj.get("metadata") or {})}
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key != _CPU}
    target = (obj.get("spec") or {}).get(_CPU)
    if target is not None:
        spec["metrics"] = [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}},
            }
        ]
    out["spec"] = spec
    status = dict(obj.get("status") or {})
    current = status.pop("currentCPUUtilizationPercentage", None)
    if current is not None:
        status["currentMetrics"] = [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": current}}}
        ]
    status.setdefault("desiredReplicas", 0)
    status.setdefault("currentMetrics", None)
    out["status"] = status
    return out


def _hpa_from_v2(obj: Object) -> Object:
    out = {**obj, "apiVersion": "autoscaling/v1"}
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key not in ("metrics", "behavior")}
    for metric in (obj.get("spec") or {}).get("metrics") or ():
        utilization = ((metric.get("resource") or {}).get("target") or {}).get("averageUtilization")
        if _resource_cpu(metric) and utilization is not None:
            spec[_CPU] = utilization
            break
    out["spec"] = spec
    status = {k: v for k, v in (obj.get("status") or {}).items() if k not in ("currentMetrics", "conditions")}
    for metric in (obj.get("status") or {}).get("currentMetrics") or ():
        utilization = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
        if _resource_cpu(metric) and utilization is not None:
            status["currentCPUUtilizationPercentage"] = utilization
            break
    status.setdefault("currentReplicas", 0)
    out["status"] = status
    return out


STORED_AS: dict[Resource, Conversion] = {
    builtin("events.k8s.io", "v1", "events"): Conversion(EVENTS, _event_to_core, _event_from_core),
    _HPA_V1: Conversion(HORIZONTALPODAUTOSCALERS, _hpa_to_v2, _hpa_from_v2),
}
"""By served resource; a resource that is not here is stored as it is served."""
