"""ResourceSlices: the devices that a driver offers."""

import re
from functools import partial
from itertools import pairwise
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks, devices
from wherry.api.validation.rules import Rules
from wherry.api.validation.scheduling import node_selector
from wherry.api.validation.shared import immutable, named
from wherry.api.validation.volumes import driver_name

Obj = dict[str, Any]
Errors = list[FieldError]

_MAX_DEVICES = 128
_MAX_SPECIAL_DEVICES = 64
_MAX_TAINTS = 16
_MAX_COUNTER_SETS = 8
_MAX_COUNTERS = 32
_MAX_CONSUMPTIONS = 2
_MAX_ATTRIBUTES = 32
_VALUE_LIMIT = 64
_VALUES = ("bool", "int", "string", "version")
_NODES = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_DEVICE_NODES = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true "
    "in the ResourceSlice spec"
)
_NO_DEVICE_NODES = (
    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the "
    "ResourceSlice spec"
)
_NUMBER = r"(0|[1-9]\d*)"
_PRERELEASE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRERELEASE}(\.{_PRERELEASE})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


def _create(obj: Obj) -> Errors:
    return _spec(obj.get("spec") or {}, None)


def _update(obj: Obj, old: Obj) -> Errors:
    return _spec(obj.get("spec") or {}, old.get("spec") or {})


def _spec(spec: Obj, before: Obj | None) -> Errors:
    pool = spec.get("pool") or {}
    errors = driver_name(spec.get("driver") or "", "spec.driver") + _pool(pool, "spec.pool")
    if before is not None:
        errors += immutable(pool.get("name"), (before.get("pool") or {}).get("name"), "spec.pool.name")
        errors += [e for m in ("driver", "nodeName") for e in immutable(spec.get(m), before.get(m), f"spec.{m}")]
    errors += _nodes(spec)
    found, counters = spec.get("devices"), spec.get("sharedCounters")
    if found is not None and counters is not None:
        errors.append(field.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    special = any(device.get("taints") or device.get("consumesCounters") for device in found or ())
    old_taints = {d.get("name"): d.get("taints") for d in (before or {}).get("devices") or ()}
    check = partial(_device, per_device=bool(spec.get("perDeviceNodeSelection")), old_taints=old_taints)
    most = _MAX_SPECIAL_DEVICES if special else _MAX_DEVICES
    errors += devices.unique_items(found or [], "spec.devices", check, lambda device: device.get("name") or "", most)
    return errors + devices.unique_items(
        counters or [], "spec.sharedCounters", _counter_set, lambda found: found.get("name") or "", _MAX_COUNTER_SETS
    )


def _pool(pool: Obj, path: str) -> Errors:
    errors = devices.pool_name(pool.get("name") or "", f"{path}.name")
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if count <= 0:
        errors.append(field.invalid(f"{path}.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        detail = "must be greater than or equal to zero"
        errors.append(field.invalid(f"{path}.generation", generation, detail))
    return errors


def _nodes(spec: Obj) -> Errors:
    errors: Errors = []
    given: list[str] = []
    name, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if name:
        given.append("`nodeName`")
        errors += named(name, "spec.nodeName", checks.subdomain)
    elif name is not None:
        errors.append(field.invalid("spec.nodeName", name, "must be either unset or set to a non-empty string"))
    if selector is not None:
        given.append("`nodeSelector`")
        errors += node_selector(selector, "spec.nodeSelector")
        terms = selector.get("nodeSelectorTerms") or []
        if len(terms) != 1:
            shown = [{"MatchExpressions": term} for term in terms]
            detail = "must have exactly one node selector term"
            errors.append(field.invalid("spec.nodeSelector.nodeSelectorTerms", shown, detail))
    for member in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(member):
            given.append(f"`{member}`")
        elif spec.get(member) is not None:
            errors.append(field.invalid(f"spec.{member}", False, "must be either unset or set to true"))
    if not given:
        errors.append(field.required("spec", _NODES))
    elif len(given) > 1:
        detail = f"{_NODES}, but multiple fields are set"
        errors.append(field.invalid("spec", f"{{{', '.join(given)}}}", detail))
    return errors


def _device(device: Obj, path: str, *, per_device: bool, old_taints: dict[Any, Any]) -> Errors:
    errors = devices.label(device.get("name") or "", f"{path}.name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    count = len(attributes) + len(capacity)
    if count > _MAX_ATTRIBUTES:
        detail = f"the total number of attributes and capacities must not exceed {_MAX_ATTRIBUTES}"
        errors.append(field.invalid(path, count, detail))
    shown, key = devices.MAX_QUALIFIED_LENGTH, devices.qualified_name
    errors += devices.entries(attributes, f"{path}.attributes", key, _attribute, most=None, shown=shown)
    amount = _shared_capacity if device.get("allowMultipleAllocations") else _capacity
    errors += devices.entries(capacity, f"{path}.capacity", key, amount, most=None, shown=shown)
    taints, name = device.get("taints"), device.get("name")
    if name not in old_taints or (old_taints[name] or []) != (taints or []):
        errors += devices.items(taints or [], f"{path}.taints", _taint, _MAX_TAINTS)
    errors += devices.unique_items(
        device.get("consumesCounters") or [],
        f"{path}.consumesCounters",
        partial(_counters, member="counterSet"),
        lambda consumption: consumption.get("counterSet") or "",
        _MAX_CONSUMPTIONS,
    )
    errors += _device_nodes(device, path, per_device=per_device)
    return errors + devices.binding_conditions(device, path)


def _device_nodes(device: Obj, path: str, *, per_device: bool) -> Errors:
    name, selector, everywhere = (device.get(m) for m in ("nodeName", "nodeSelector", "allNodes"))
    if not per_device:
        if name is None and selector is None and everywhere is None:
            return []
        return [field.invalid(path, None, _NO_DEVICE_NODES)]
    errors: Errors = []
    given: list[str] = []
    if name:
        given.append("`nodeName`")
        errors += named(name, f"{path}.nodeName", checks.subdomain)
    elif name is not None:
        errors.append(field.invalid(f"{path}.nodeName", name, "must not be empty"))
    if selector is not None:
        given.append("`nodeSelector`")
        errors += node_selector(selector, f"{path}.nodeSelector")
    if everywhere:
        given.append("`allNodes`")
    elif everywhere is not None:
        errors.append(field.invalid(f"{path}.allNodes", False, "must be either unset or set to true"))
    if not given:
        errors.append(field.required(path, _DEVICE_NODES))
    elif len(given) > 1:
        errors.append(field.invalid(path, f"{{{', '.join(given)}}}", _DEVICE_NODES))
    return errors


def _attribute(attribute: Obj, path: str) -> Errors:
    errors: Errors = []
    given = [member for member in _VALUES if attribute.get(member) is not None]
    if "string" in given and len(attribute["string"].encode()) > _VALUE_LIMIT:
        errors.append(field.too_long(f"{path}.string", _VALUE_LIMIT))
    if "version" in given:
        version, at = attribute["version"], f"{path}.version"
        if not _VERSION.fullmatch(version):
            errors.append(field.invalid(at, version, "must be a string compatible with semver.org spec 2.0.0"))
        if len(version.encode()) > _VALUE_LIMIT:
            errors.append(field.too_long(at, _VALUE_LIMIT))
    if len(given) != 1:
        shown = {f"{member.title()}Value": attribute[member] for member in given} if given else ""
        errors.append(field.invalid(path, shown, "exactly one value must be specified"))
    return errors


def _capacity(capacity: Obj, path: str) -> Errors:
    if capacity.get("requestPolicy") is None:
        return []
    return [field.forbidden(f"{path}.requestPolicy", "allowMultipleAllocations must be true")]


def _shared_capacity(capacity: Obj, path: str) -> Errors:
    """Check how much of a capacity can be asked for, one share at a time."""
    policy, at = capacity.get("requestPolicy"), f"{path}.requestPolicy"
    if policy is None:
        return []
    most, default = Quantity.parse(capacity.get("value") or "0"), policy.get("default")
    values, limits = policy.get("validValues") or [], policy.get("validRange")
    if values and limits is not None:
        detail = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        return [field.forbidden(at, detail)]
    if not values and limits is None:
        return []
    member = "validValues" if values else "validRange"
    if default is None:
        return [field.required(f"{at}.default", f"required when {member} is defined")]
    if values:
        return _valid_values(Quantity.parse(default), most, [Quantity.parse(v) for v in values], f"{at}.{member}")
    return _valid_range(Quantity.parse(default), most, limits or {}, f"{at}.{member}")


def _valid_values(default: Quantity, most: Quantity, values: list[Quantity], path: str) -> Errors:
    errors = [
        field.invalid(f"{path}[{i + 1}]", str(after), "values must be sorted in ascending order")
        for i, (value, after) in enumerate(pairwise(values))
        if value > after
    ]

    def option(value: Quantity, at: str) -> Errors:
        larger = f"option is larger than capacity value: {most}"
        return [field.invalid(at, str(value), larger)] if value > most else []

    errors += devices.unique_items(values, path, option, lambda value: str(value.whole()), 10)
    if all(value.value != default.value for value in values):
        detail = "default value is not valid according to the requestPolicy"
        errors.append(field.invalid(path, str(default), detail))
    return errors


def _valid_range(default: Quantity, most: Quantity, limits: Obj, path: str) -> Errors:
    if limits.get("min") is None:
        return [field.required(f"{path}.min", "required when validRange is defined")]
    errors: Errors = []
    low = Quantity.parse(limits["min"])
    high, step = (Quantity.parse(limits[m]) if limits.get(m) is not None else None for m in ("max", "step"))
    if low > most:
        errors.append(field.invalid(f"{path}.min", str(low), f"min is larger than capacity value: {most}"))
    if default < low:
        errors.append(field.invalid(f"{path}.min", str(default), f"default is less than min: {low}"))
    if high is not None:
        if low > high:
            errors.append(field.invalid(f"{path}.max", str(low), f"min is larger than max: {high}"))
        if high > most:
            errors.append(field.invalid(f"{path}.max", str(high), f"max is larger than capacity value: {most}"))
        if default > high:
            errors.append(field.invalid(f"{path}.max", str(default), f"default is more than max: {high}"))
    if step is not None:
        at = f"{path}.step"
        if low + step > most:
            detail = f"one step {low + step} is larger than capacity value: {most}"
            errors.append(field.invalid(at, str(step), detail))
        for value in (default, high):
            if value is not None and step.whole() and (value.whole() - low.whole()) % step.whole():
                detail = f"value is not a multiple of a given step ({step}) from ({low})"
                errors.append(field.invalid(at, str(value), detail))
    return errors


def _taint(taint: Obj, path: str) -> Errors:
    errors = named(taint.get("key") or "", f"{path}.key", checks.qualified_name)
    value, effect = taint.get("value") or "", taint.get("effect") or ""
    if value:
        errors += named(value, f"{path}.value", checks.label_value)
    if not effect:
        errors.append(field.required(f"{path}.effect"))
    elif effect not in devices.TAINT_EFFECTS:
        errors.append(field.not_supported(f"{path}.effect", effect, devices.TAINT_EFFECTS))
    return errors


def _counter_set(found: Obj, path: str) -> Errors:
    return _counters(found, path, member="name")


def _counters(found: Obj, path: str, *, member: str) -> Errors:
    name, counters = found.get(member) or "", found.get("counters") or {}
    at = f"{path}.{member}"
    errors = devices.label(name, at) if name else [field.required(at)]
    at = f"{path}.counters"
    if not counters:
        return [*errors, field.required(at)]
    return errors + devices.entries(
        counters, at, devices.label, lambda counter, where: [], most=_MAX_COUNTERS, shown=63
    )


RULES = {("resource.k8s.io", "resourceslices"): Rules(create=_create, update=_update, recheck=False)}
