"""HorizontalPodAutoscalers, in the words of version 2 whatever the version of the object."""

from collections.abc import Callable
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks
from wherry.api.validation.references import path_name
from wherry.api.validation.resources import container_resource_name
from wherry.api.validation.resources import non_negative as non_negative_amount
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import label_selector, named, non_negative

Obj = dict[str, Any]
Errors = list[FieldError]

_SOURCES = {
    "Object": "object", "External": "external", "Pods": "pods", "Resource": "resource",
    "ContainerResource": "containerResource",
}  # fmt: skip
_TARGETS = ("Utilization", "Value", "AverageValue")
_POLICIES = ("Percent", "Pods")
_SELECT = ("Disabled", "Max", "Min")
_MAX_WINDOW = 3600
_MAX_PERIOD = 1800
_NEITHER = "must set either a target raw value or a target utilization"
_BOTH = "may not set both a target raw value and a target utilization"
_NOT_GIVEN = "must populate information for the given metric source"


def _create(obj: Obj) -> Errors:
    return _spec(obj.get("spec") or {}, {})


def _update(obj: Obj, old: Obj) -> Errors:
    return _spec(obj.get("spec") or {}, old.get("spec") or {})


def _spec(spec: Obj, before: Obj) -> Errors:
    """What the older version did wrong it may go on doing."""
    errors: Errors = []
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    bound = 0 if before.get("minReplicas") == 0 else 1
    if least is not None and least < bound:
        errors.append(field.invalid("spec.minReplicas", least, f"must be greater than or equal to {bound}"))
    if most == 0:
        errors.append(field.required("spec.maxReplicas", "must be set and greater than 0"))
    elif most < 0:
        errors.append(field.invalid("spec.maxReplicas", most, "must be greater than or equal to 1"))
    if least is not None and most < least:
        errors.append(field.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    path, target = "spec.scaleTargetRef", spec.get("scaleTargetRef") or {}
    errors += _reference(target, path)
    version = target.get("apiVersion") or ""
    if not (before and _version_error(before.get("scaleTargetRef") or {})):
        wrong = _version_error(target)
        if wrong:
            errors.append(field.invalid(f"{path}.apiVersion", version, wrong))
    metrics = _metrics_of(spec)
    for i, metric in enumerate(metrics):
        errors += _metric(metric, f"spec.metrics[{i}]")
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.append(field.forbidden("spec.metrics", detail))
    for direction in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(direction)
        if rules is not None:
            errors += _scaling(rules, f"spec.behavior.{direction}")
    return errors


def _metrics_of(spec: Obj) -> list[Obj]:
    utilization = spec.get("targetCPUUtilizationPercentage")
    if utilization is None:
        return spec.get("metrics") or []
    target = {"type": "Utilization", "averageUtilization": utilization}
    return [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _reference(ref: Obj, path: str) -> Errors:
    return path_name(ref.get("kind") or "", f"{path}.kind") + path_name(ref.get("name") or "", f"{path}.name")


def _version_error(ref: Obj) -> str:
    """The core group has no name, and one kind that scales."""
    version = ref.get("apiVersion") or ""
    if version.count("/") > 1:
        return f"unexpected GroupVersion string: {version}"
    if version.partition("/")[1] and version.partition("/")[0]:
        return ""
    core = version == "v1" and ref.get("kind") == "ReplicationController"
    return "" if core else "apiVersion must specify API group"


def _metric(metric: Obj, path: str) -> Errors:
    errors: Errors = []
    kind = metric.get("type") or ""
    unsupported = field.not_supported(f"{path}.type", kind, _SOURCES)
    if not kind:
        errors.append(field.required(f"{path}.type", "must specify a metric source type"))
    if kind not in _SOURCES:
        errors.append(unsupported)
    given = [member for member in _SOURCES.values() if metric.get(member) is not None]
    if given:
        errors += _CHECKS[given[0]](metric[given[0]], f"{path}.{given[0]}")
    expected = _SOURCES.get(kind)
    if expected is None:
        errors.append(unsupported)
    elif expected not in given:
        errors.append(field.required(f"{path}.{expected}", _NOT_GIVEN))
    if len(given) != 1:
        for member in sorted(given):
            if member != expected:
                errors.append(field.forbidden(f"{path}.{member}", "must populate the given metric source only"))
    return errors


def _target(target: Obj, path: str) -> Errors:
    errors: Errors = []
    kind = target.get("type") or ""
    if not kind:
        errors.append(field.required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        detail = "must be either Utilization, Value, or AverageValue"
        errors.append(field.invalid(f"{path}.type", kind, detail))
    for member in ("value", "averageValue"):
        amount = target.get(member)
        if amount is not None and Quantity.parse(amount).value <= 0:
            errors.append(field.invalid(f"{path}.{member}", amount, "must be positive"))
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        errors.append(field.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0"))
    return errors


def _identifier(metric: Obj, path: str) -> Errors:
    errors = path_name(metric.get("name") or "", f"{path}.name", "must specify a metric name")
    return errors + label_selector(metric.get("selector"), f"{path}.selector")


def _object(source: Obj, path: str) -> Errors:
    errors: Errors = []
    ref, target = source.get("describedObject") or {}, source.get("target") or {}
    errors += _reference(ref, f"{path}.describedObject")
    version = ref.get("apiVersion") or ""
    if version.count("/") > 1:
        detail = f"unexpected GroupVersion string: {version}"
        errors.append(field.invalid(f"{path}.describedObject.apiVersion", version, detail))
    errors += _identifier(source.get("metric") or {}, f"{path}.metric") + _target(target, f"{path}.target")
    if target.get("value") is None and target.get("averageValue") is None:
        detail = "must set either a target value or averageValue"
        errors.append(field.required(f"{path}.target.averageValue", detail))
    return errors


def _external(source: Obj, path: str) -> Errors:
    target = source.get("target") or {}
    errors = _identifier(source.get("metric") or {}, f"{path}.metric") + _target(target, f"{path}.target")
    value, average = target.get("value"), target.get("averageValue")
    if value is None and average is None:
        detail = "must set either a target value for metric or a per-pod target"
        errors.append(field.required(f"{path}.target.averageValue", detail))
    if value is not None and average is not None:
        detail = "may not set both a target value for metric and a per-pod target"
        errors.append(field.forbidden(f"{path}.target.value", detail))
    return errors


def _pods(source: Obj, path: str) -> Errors:
    target = source.get("target") or {}
    errors = _identifier(source.get("metric") or {}, f"{path}.metric") + _target(target, f"{path}.target")
    if target.get("averageValue") is None:
        errors.append(field.required(f"{path}.target.averageValue", "must specify a positive target averageValue"))
    return errors


def _utilization(target: Obj, path: str) -> Errors:
    errors = _target(target, path)
    utilization, average = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and average is None:
        errors.append(field.required(f"{path}.averageUtilization", _NEITHER))
    if utilization is not None and average is not None:
        errors.append(field.forbidden(f"{path}.averageValue", _BOTH))
    return errors


def _resource(source: Obj, path: str) -> Errors:
    errors = [] if source.get("name") else [field.required(f"{path}.name", "must specify a resource name")]
    return errors + _utilization(source.get("target") or {}, f"{path}.target")


def _container_resource(source: Obj, path: str) -> Errors:
    name, container = source.get("name"), source.get("container")
    if name:
        errors = container_resource_name(name, f"{path}.name")
    else:
        errors = [field.required(f"{path}.name", "must specify a resource name")]
    if container:
        errors += named(container, f"{path}.container", checks.label)
    else:
        errors.append(field.required(f"{path}.container", "must specify a container"))
    return errors + _utilization(source.get("target") or {}, f"{path}.target")


_CHECKS: dict[str, Callable[[Obj, str], Errors]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}


def _scaling(rules: Obj, path: str) -> Errors:
    errors: Errors = []
    window, select, tolerance = (rules.get(m) for m in ("stabilizationWindowSeconds", "selectPolicy", "tolerance"))
    at = f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        errors.append(field.invalid(at, window, "must be greater than or equal to zero"))
    if window is not None and window > _MAX_WINDOW:
        errors.append(field.invalid(at, window, f"must be less than or equal to {_MAX_WINDOW}"))
    if select is not None and select not in _SELECT:
        errors.append(field.not_supported(f"{path}.selectPolicy", select, _SELECT))
    if not rules.get("policies"):
        errors.append(field.required(f"{path}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(rules.get("policies") or ()):
        errors += _policy(policy, f"{path}.policies[{i}]")
    return errors + (non_negative_amount(tolerance, f"{path}.tolerance") if tolerance is not None else [])


def _policy(policy: Obj, path: str) -> Errors:
    errors: Errors = []
    kind, value, period = policy.get("type") or "", policy.get("value") or 0, policy.get("periodSeconds") or 0
    if kind not in _POLICIES:
        errors.append(field.not_supported(f"{path}.type", kind, _POLICIES))
    if value <= 0:
        errors.append(field.invalid(f"{path}.value", value, "must be greater than zero"))
    if period <= 0:
        errors.append(field.invalid(f"{path}.periodSeconds", period, "must be greater than zero"))
    if period > _MAX_PERIOD:
        errors.append(field.invalid(f"{path}.periodSeconds", period, f"must be less than or equal to {_MAX_PERIOD}"))
    return errors


def _update_status(obj: Obj, old: Obj) -> Errors:
    status = obj.get("status") or {}
    return [
        error
        for member in ("currentReplicas", "desiredReplicas")
        for error in non_negative(status.get(member), f"status.{member}")
    ]


RULES = {
    ("autoscaling", "horizontalpodautoscalers"): Rules(
        create=_create, update=_update, subresources={"status": _update_status}, recheck=False
    )
}
