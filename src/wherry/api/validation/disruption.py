"""PodDisruptionBudgets."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import metadata
from wherry.api.validation.conditions import conditions
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import at_most_100_percent, int_or_percent, label_selector, non_negative

Obj = dict[str, Any]
Errors = list[FieldError]

_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def _budget(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    errors: Errors = []
    members = [m for m in ("minAvailable", "maxUnavailable") if spec.get(m) is not None]
    if len(members) == 2:
        errors.append(field.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for member in members:
        path = f"spec.{member}"
        errors += int_or_percent(spec[member], path) + at_most_100_percent(spec[member], path)
    errors += label_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _EVICTION_POLICIES:
        errors.append(field.not_supported("spec.unhealthyPodEvictionPolicy", policy, _EVICTION_POLICIES))
    return errors


def _update_status(obj: Obj, old: Obj) -> Errors:
    status = obj.get("status") or {}
    errors = conditions(status.get("conditions"), "status.conditions")
    return errors + [e for m in _COUNTS for e in non_negative(status.get(m), f"status.{m}")]


RULES = {
    ("policy", "poddisruptionbudgets"): Rules(
        create=_budget,
        subresources={"status": _update_status},
        name=metadata.path_segment,
        metadata_again=False,
    )
}
