"""Cells of the autoscaling and policy groups."""

from typing import Any

from wherry.api.meta import Object
from wherry.api.printers.text import NONE, UNKNOWN, UNSET, age, name, spec, status

_SOURCES = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def horizontal_pod_autoscaler(obj: Object) -> list[Any]:
    """Return the cells of an autoscaler in version 2."""
    target = spec(obj).get("scaleTargetRef") or {}
    minimum = spec(obj).get("minReplicas")
    return [
        name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(obj),
        UNSET if minimum is None else str(minimum),
        spec(obj).get("maxReplicas", 0),
        status(obj).get("currentReplicas", 0),
        age(obj),
    ]


def _targets(obj: Object) -> str:
    metrics = spec(obj).get("metrics") or ()
    current_metrics = status(obj).get("currentMetrics") or ()
    texts = []
    for index, metric in enumerate(metrics):
        current = current_metrics[index] if index < len(current_metrics) else {}
        texts.append(_metric(metric, current))
    if len(texts) > 2:
        return f"{', '.join(texts[:2])} + {len(texts) - 2} more..."
    return ", ".join(texts) or NONE


def _metric(metric: Object, current: Object) -> str:
    kind = metric.get("type", "")
    if kind not in _SOURCES:
        return "<unknown type>"
    source = metric.get(_SOURCES[kind]) or {}
    reported = current.get(_SOURCES[kind])
    now = (reported or {}).get("current") or {}
    # A report that lacks the value asked for shows as Go prints a nil quantity.
    absent = UNKNOWN if reported is None else "<nil>"
    target = source.get("target") or {}
    prefix = f"{source.get('name', '')}: " if kind in ("Resource", "ContainerResource") else ""
    if target.get("averageUtilization") is not None:
        used = now.get("averageUtilization")
        return f"{prefix}{UNKNOWN if used is None else f'{used}%'}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        average = now.get("averageValue")
        if kind in ("External", "Object"):
            return f"{average or UNKNOWN}/{target['averageValue']} (avg)"
        return f"{prefix}{average or absent}/{target['averageValue']}"
    if target.get("value") is not None:
        return f"{prefix}{now.get('value') or absent}/{target['value']}"
    return f"{prefix}{UNKNOWN}/<auto>"


def pod_disruption_budget(obj: Object) -> list[Any]:
    minimum, maximum = spec(obj).get("minAvailable"), spec(obj).get("maxUnavailable")
    return [
        name(obj),
        "N/A" if minimum is None else str(minimum),
        "N/A" if maximum is None else str(maximum),
        status(obj).get("disruptionsAllowed", 0),
        age(obj),
    ]


CELLS = {
    ("autoscaling", "horizontalpodautoscalers"): horizontal_pod_autoscaler,
    ("policy", "poddisruptionbudgets"): pod_disruption_budget,
}
