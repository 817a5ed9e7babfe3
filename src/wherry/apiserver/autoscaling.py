"""HorizontalPodAutoscalers of ``autoscaling/v1``, which are stored as ``v2``.

Version 1 knows one metric, the utilization of the CPU; the others, their state, the conditions and the scaling rules it
keeps in annotations (``autoscaling.alpha.kubernetes.io/…``), so that nothing is lost on the way there and back.
"""

import json
from typing import Any

Object = dict[str, Any]

_PREFIX = "autoscaling.alpha.kubernetes.io/"
_METRICS, _CURRENT, _CONDITIONS, _BEHAVIOR = (
    _PREFIX + name for name in ("metrics", "current-metrics", "conditions", "behavior")
)
_CPU = "targetCPUUtilizationPercentage"
_CURRENT_CPU = "currentCPUUtilizationPercentage"
_TYPES = ("object", "pods", "resource", "containerResource", "external")
_CONDITION = ("type", "status", "lastTransitionTime", "reason", "message")
_REFERENCE = ("kind", "name", "apiVersion")
_RULES = ("stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance")
_POLICY = ("type", "value", "periodSeconds")

# By source: the members of version 1 (in the order of its Go type) with the paths of version 2. Those that end in "!"
# are shown when they are empty, quantities then as "0".
_SPEC: dict[str, dict[str, str]] = {
    "object": {
        "target": "describedObject",
        "metricName": "metric.name",
        "targetValue!": "target.value",
        "selector": "metric.selector",
        "averageValue": "target.averageValue",
    },
    "pods": {
        "metricName": "metric.name",
        "targetAverageValue!": "target.averageValue",
        "selector": "metric.selector",
    },
    "resource": {
        "name": "name",
        "targetAverageUtilization": "target.averageUtilization",
        "targetAverageValue": "target.averageValue",
    },
    "containerResource": {
        "name": "name",
        "targetAverageUtilization": "target.averageUtilization",
        "targetAverageValue": "target.averageValue",
        "container": "container",
    },
    "external": {
        "metricName": "metric.name",
        "metricSelector": "metric.selector",
        "targetValue": "target.value",
        "targetAverageValue": "target.averageValue",
    },
}
_STATUS: dict[str, dict[str, str]] = {
    "object": {
        "target": "describedObject",
        "metricName": "metric.name",
        "currentValue!": "current.value",
        "selector": "metric.selector",
        "averageValue": "current.averageValue",
    },
    "pods": {
        "metricName": "metric.name",
        "currentAverageValue!": "current.averageValue",
        "selector": "metric.selector",
    },
    "resource": {
        "name": "name",
        "currentAverageUtilization": "current.averageUtilization",
        "currentAverageValue!": "current.averageValue",
    },
    "containerResource": {
        "name": "name",
        "currentAverageUtilization": "current.averageUtilization",
        "currentAverageValue!": "current.averageValue",
        "container": "container",
    },
    "external": {
        "metricName": "metric.name",
        "metricSelector": "metric.selector",
        "currentValue!": "current.value",
        "currentAverageValue": "current.averageValue",
    },
}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _load(text: str | None, kind: type) -> Any:
    """Return what an annotation holds, None when that is not what was put there."""
    try:
        value = json.loads(text or "null")
    except ValueError:
        return None
    return value if isinstance(value, kind) else None


def _is_cpu(metric: Object, state: str) -> bool:
    resource = metric.get("resource") or {}
    utilization = (resource.get(state) or {}).get("averageUtilization")
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and utilization is not None


def _old_metric(metric: Object, table: dict[str, dict[str, str]]) -> Object:
    out: Object = {"type": metric.get("type") or ""}
    for kind in _TYPES:
        source = metric.get(kind)
        if source is None:
            continue
        converted: Object = {}
        for member, path in table[kind].items():
            value: Any = source
            for step in path.split("."):
                value = (value or {}).get(step)
            if path == "describedObject":
                value = {m: (value or {}).get(m, "") for m in _REFERENCE if m != "apiVersion" or (value or {}).get(m)}
            if value is not None or member.endswith("!"):
                converted[member.removesuffix("!")] = "0" if value is None else value
        out[kind] = converted
    return out


def _new_metric(metric: Object, table: dict[str, dict[str, str]]) -> Object:
    out: Object = {"type": metric.get("type") or ""}
    for kind in _TYPES:
        source = metric.get(kind)
        if not isinstance(source, dict):
            continue
        state = "target" if table is _SPEC else "current"
        converted: Object = {"metric": {}, state: {}} if kind in ("object", "pods", "external") else {state: {}}
        for member, path in table[kind].items():
            value = source.get(member.removesuffix("!"))
            # An amount that another one replaces is only there because version 1 always shows it.
            if value is None or (kind == "object" and member.endswith("!") and source.get("averageValue") is not None):
                continue
            *steps, last = path.split(".")
            holder = converted
            for step in steps:
                holder = holder.setdefault(step, {})
            holder[last] = value
        if table is _SPEC:
            converted[state] = {"type": _target_type(converted[state]), **converted[state]}
        out[kind] = converted
    return out


def _target_type(target: Object) -> str:
    if target.get("averageUtilization") is not None:
        return "Utilization"
    return "AverageValue" if target.get("averageValue") is not None else "Value"


def _renamed(found: Object, members: tuple[str, ...], *, to_go: bool) -> Object:
    """Rename members between the wire and Go's exported fields; absent ones are null there."""
    names = {member: member[0].upper() + member[1:] for member in members}
    if to_go:
        return {go: found.get(member) for member, go in names.items()}
    return {member: found[go] for member, go in names.items() if found.get(go) is not None}


def _behavior(found: Object, *, to_go: bool) -> Object:
    out: Object = {}
    for member, go in (("scaleUp", "ScaleUp"), ("scaleDown", "ScaleDown")):
        source, target = (member, go) if to_go else (go, member)
        rules = found.get(source)
        if isinstance(rules, dict):
            out[target] = _renamed(rules, _RULES, to_go=to_go)
            policies = "Policies" if to_go else "policies"
            found_policies = out[target].get(policies) or ()
            out[target][policies] = [_renamed(policy, _POLICY, to_go=to_go) for policy in found_policies]
        elif to_go:
            out[target] = None
    return out


def _old_condition(condition: Object) -> Object:
    """Members in the order of the Go type; the time is always shown."""
    return {m: condition.get(m) for m in _CONDITION if condition.get(m) or m == "lastTransitionTime"}


def to_v2(obj: Object) -> Object:
    """Return the form of version 2 of an object of version 1."""
    metadata = dict(obj.get("metadata") or {})
    kept = dict(metadata.get("annotations") or {})
    notes = {key: kept.pop(key, None) for key in (_METRICS, _CURRENT, _CONDITIONS, _BEHAVIOR)}
    if kept:
        metadata["annotations"] = kept
    else:
        metadata.pop("annotations", None)
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key != _CPU}
    metrics = [_new_metric(metric, _SPEC) for metric in _load(notes[_METRICS], list) or ()]
    target = (obj.get("spec") or {}).get(_CPU)
    if target is not None:
        utilization = {"type": "Utilization", "averageUtilization": target}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": utilization}})
    if metrics:
        spec["metrics"] = metrics
    behavior = _load(notes[_BEHAVIOR], dict)
    if behavior is not None:
        spec["behavior"] = _behavior(behavior, to_go=False)
    status = dict(obj.get("status") or {})
    cpu = status.pop(_CURRENT_CPU, None)
    current = [_new_metric(metric, _STATUS) for metric in _load(notes[_CURRENT], list) or ()]
    if cpu is not None:
        current.append({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": cpu}}})
    status.setdefault("desiredReplicas", 0)
    status["currentMetrics"] = current or None
    conditions = _load(notes[_CONDITIONS], list)
    if conditions:
        status["conditions"] = conditions
    return {**obj, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec, "status": status}


def from_v2(obj: Object) -> Object:
    """Return the form of version 1 of an object of version 2."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    old_spec = {key: value for key, value in spec.items() if key not in ("metrics", "behavior")}
    metrics, current = spec.get("metrics") or (), status.get("currentMetrics") or ()
    notes: dict[str, str] = {}
    others = [_old_metric(metric, _SPEC) for metric in metrics if not _is_cpu(metric, "target")]
    if others:
        notes[_METRICS] = _dump(others)
    for metric in metrics:
        if _is_cpu(metric, "target"):
            old_spec[_CPU] = metric["resource"]["target"]["averageUtilization"]
            break
    old_status = {key: value for key, value in status.items() if key not in ("currentMetrics", "conditions")}
    for count in ("currentReplicas", "desiredReplicas"):
        old_status.setdefault(count, 0)
    for metric in current:
        if _is_cpu(metric, "current"):
            old_status[_CURRENT_CPU] = metric["resource"]["current"]["averageUtilization"]
            break
    if current:
        notes[_CURRENT] = _dump([_old_metric(metric, _STATUS) for metric in current])
    if spec.get("behavior") is not None:
        notes[_BEHAVIOR] = _dump(_behavior(spec["behavior"], to_go=True))
    if status.get("conditions"):
        shown = [
            {m: c.get(m) for m in _CONDITION if c.get(m) or m == "lastTransitionTime"} for c in status["conditions"]
        ]
        notes[_CONDITIONS] = _dump(shown)
    metadata = dict(obj.get("metadata") or {})
    if notes:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **notes}
    return {**obj, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": old_spec, "status": old_status}
