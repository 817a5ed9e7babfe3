"""PriorityClasses."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import immutable

Obj = dict[str, Any]
Errors = list[FieldError]

_HIGHEST = 1_000_000_000
SYSTEM = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_RESERVED = "priority class names with 'system-' prefix are reserved for system use only. error: "
_POLICIES = ("PreemptLowerPriority", "Never")


def _class(obj: Obj) -> Errors:
    errors: Errors = []
    name, value, policy = obj["metadata"].get("name") or "", obj.get("value") or 0, obj.get("preemptionPolicy")
    if name.startswith("system-"):
        wrong = _system_error(name, value, bool(obj.get("globalDefault")))
        if wrong:
            errors.append(field.forbidden("metadata.name", _RESERVED + wrong))
    elif value > _HIGHEST:
        errors.append(field.forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}"))
    if policy == "":
        errors.append(field.required("preemptionPolicy"))
    elif policy is not None and policy not in _POLICIES:
        errors.append(field.not_supported("preemptionPolicy", policy, _POLICIES, ordered=True))
    return errors


def _system_error(name: str, value: int, default: bool) -> str:
    if name not in SYSTEM:
        return f"{name} is not a known system priority class"
    if value != SYSTEM[name]:
        return f"value of {name} PriorityClass must be {SYSTEM[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if default else ""


def _update(obj: Obj, old: Obj) -> Errors:
    errors: Errors = []
    if (obj.get("value") or 0) != (old.get("value") or 0):
        errors.append(field.forbidden("value", "may not be changed in an update."))
    return errors + immutable(obj.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy")


RULES = {("scheduling.k8s.io", "priorityclasses"): Rules(create=_class, update=_update, recheck=False)}
