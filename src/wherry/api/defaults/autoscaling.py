"""Defaults of ``autoscaling``: HorizontalPodAutoscalers in both versions."""

from typing import Any

Obj = dict[str, Any]

_CPU_UTILIZATION = 80
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"

# Scale up by four pods or to the double within 15 seconds, whichever is more; scale down as far as is wanted.
_RULES: dict[str, Obj] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    },
    "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
}


def default_autoscaler(obj: Obj) -> None:
    """Without a metric, aim at 80 % of the requested CPU; rules that are given in part are completed."""
    spec = obj.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if obj.get("apiVersion") == "autoscaling/v1":
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        if spec.get("targetCPUUtilizationPercentage") is None and _METRICS not in annotations:
            spec["targetCPUUtilizationPercentage"] = _CPU_UTILIZATION
        return
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_UTILIZATION}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        default_behavior(behavior)


def default_behavior(behavior: Obj) -> None:
    """Complete the rules for both directions."""
    for direction, rules in _RULES.items():
        given = behavior.setdefault(direction, {})
        for member, value in rules.items():
            if given.get(member) is None:
                given[member] = [dict(policy) for policy in value] if isinstance(value, list) else value


DEFAULTS = {("autoscaling", "horizontalpodautoscalers"): default_autoscaler}
