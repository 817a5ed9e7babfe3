"""Defaults of the groups with a rule or two: ``apiregistration.k8s.io``, ``node.k8s.io``,
``scheduling.k8s.io``."""

from typing import Any

from wherry.api.defaults.pod_spec import round_amounts

Obj = dict[str, Any]


def default_api_service(obj: Obj) -> None:
    """An extension API server listens where HTTPS does."""
    service = (obj.get("spec") or {}).get("service")
    if service is not None and service.get("port") is None:
        service["port"] = 443


def default_priority_class(obj: Obj) -> None:
    """Pods may preempt others."""
    if obj.get("preemptionPolicy") is None:
        obj["preemptionPolicy"] = "PreemptLowerPriority"


def default_runtime_class(obj: Obj) -> None:
    """What a pod costs beyond its containers has amounts as all resources have."""
    round_amounts((obj.get("overhead") or {}).get("podFixed"))


DEFAULTS = {
    ("apiregistration.k8s.io", "apiservices"): default_api_service,
    ("node.k8s.io", "runtimeclasses"): default_runtime_class,
    ("scheduling.k8s.io", "priorityclasses"): default_priority_class,
}
