"""LimitRanges and ResourceQuotas."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks, resources
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

_MEMBERS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")


def _limit_range(obj: Obj) -> Errors:
    errors: Errors = []
    types: set[str] = set()
    for i, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path = f"spec.limits[{i}]"
        kind = item.get("type", "")
        errors += _limit_type(kind, f"{path}.type")
        if kind in types:
            errors.append(field.duplicate(f"{path}.type", kind))
        types.add(kind)
        errors += _limit_item(item, kind, path)
    return errors


def _limit_type(kind: str, path: str) -> Errors:
    errors = named(kind, path, checks.qualified_name)
    if not errors and "/" not in kind and kind not in _LIMIT_TYPES:
        errors.append(field.invalid(path, kind, "must be a standard limit type or fully qualified"))
    return errors


def _limit_item(item: Obj, kind: str, path: str) -> Errors:
    errors: Errors = []
    keys: dict[str, None] = {}
    rule = resources.container_resource_name if kind in ("Container", "Pod") else resources.resource_name
    for member in _MEMBERS:
        if member in ("default", "defaultRequest") and kind == "Pod":
            if item.get(member):
                detail = "may not be specified when `type` is 'Pod'"
                errors.append(field.forbidden(f"{path}.{member}", detail))
            continue
        for name in item.get(member) or ():
            errors += rule(name, f"{path}.{member}[{name}]")
            keys[name] = None
    bounded = any("storage" in (item.get(m) or {}) for m in ("max", "min"))
    if kind == "PersistentVolumeClaim" and not bounded:
        detail = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(field.required(f"{path}.limits", detail))
    for name in keys:
        errors += _limit(item, kind, name, path)
    return errors


def _limit(item: Obj, kind: str, name: str, path: str) -> Errors:
    found = {m: (item.get(m) or {}).get(name) for m in _MEMBERS}
    amounts = {m: Quantity.parse(v) for m, v in found.items() if v is not None}
    errors: Errors = []

    def at(member: str) -> str:
        return f"{path}.{member}[{name}]"

    def above(member: str, other: str, what: str, limit: str, shown: str) -> None:
        if member in amounts and other in amounts and amounts[other] < amounts[member]:
            detail = f"{what} value {found[member]} is greater than {limit} value {found[other]}"
            errors.append(field.invalid(at(member), shown, detail))

    above("min", "max", "min", "max", str(found["min"]))
    if "min" in amounts and "defaultRequest" in amounts and amounts["defaultRequest"] < amounts["min"]:
        detail = f"min value {found['min']} is greater than default request value {found['defaultRequest']}"
        errors.append(field.invalid(at("defaultRequest"), found["defaultRequest"], detail))
    above("defaultRequest", "max", "default request", "max", str(found["defaultRequest"]))
    above("defaultRequest", "default", "default request", "default limit", str(found["defaultRequest"]))
    if "min" in amounts and "default" in amounts and amounts["default"] < amounts["min"]:
        detail = f"min value {found['min']} is greater than default value {found['default']}"
        errors.append(field.invalid(at("default"), found["min"], detail))
    above("default", "max", "default", "max", str(found["max"]))
    if "maxLimitRequestRatio" in amounts:
        errors += _ratio(found, amounts, at("maxLimitRequestRatio"))
    if (
        "default" in amounts and "defaultRequest" in amounts and not resources.overcommits(name)
        and amounts["default"].value != amounts["defaultRequest"].value
    ):  # fmt: skip
        detail = (
            f"default value {found['default']} must equal to defaultRequest value {found['defaultRequest']} in {name}"
        )
        errors.append(field.invalid(at("defaultRequest"), found["defaultRequest"], detail))
    return errors


def _ratio(found: Obj, amounts: dict[str, Quantity], path: str) -> Errors:
    ratio, shown = amounts["maxLimitRequestRatio"], found["maxLimitRequestRatio"]
    errors: Errors = []
    if ratio < Quantity.parse("1"):
        errors.append(field.invalid(path, shown, f"ratio {shown} is less than 1"))
    if amounts.get("min") and amounts.get("max"):
        highest = float(amounts["max"].value) / float(amounts["min"].value)
        if float(ratio.value) > highest:
            errors.append(field.invalid(path, shown, f"ratio {shown} is greater than max/min = {highest:f}"))
    return errors


# -- ResourceQuotas

_POD_SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
)
_SCOPES = frozenset((*_POD_SCOPES, "VolumeAttributesClass"))
_POD_RESOURCES = frozenset(
    {
        "pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
    }
)  # fmt: skip
_NAMED_SCOPES = (
    "ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
    "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


_CONFLICTS = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))


def _quota(obj: Obj) -> Errors:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    errors = _hard(spec.get("hard") or {}, "spec.hard")
    errors += _scopes(spec.get("scopes") or [], spec.get("hard") or {}, "spec.scopes", spec.get("scopes") or [])
    errors += _scope_selector(spec.get("scopeSelector"), spec.get("hard") or {}, spec.get("scopes"))
    return errors + _hard(status.get("hard") or {}, "status.hard") + _hard(status.get("used") or {}, "status.used")


def _hard(found: dict[str, str], path: str) -> Errors:
    errors: Errors = []
    for name, amount in found.items():
        at = f"{path}[{name}]"
        errors += resources.quota_resource_name(name, at) + resources.amount(name, amount, at)
    return errors


def _fits(scope: str, name: str) -> bool:
    if scope == "BestEffort":
        return name == "pods"
    if scope == "VolumeAttributesClass":
        return name in ("persistentvolumeclaims", "requests.storage")
    return name in _POD_RESOURCES


def _scopes(scopes: list[str], hard: Obj, path: str, shown: Any) -> Errors:
    errors: Errors = []
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(field.invalid(path, shown, "unsupported scope"))
        for name in sorted(hard):
            if scope in _SCOPES and resources.is_quota_standard(name) and not _fits(scope, name):
                errors.append(field.invalid(path, shown, "unsupported scope applied to resource"))
    for one, other in _CONFLICTS:
        if one in scopes and other in scopes:
            errors.append(field.invalid(path, shown, "conflicting scopes"))
    return errors


def _shown(selector: Obj) -> Obj:
    """Upstream shows its internal form of a selector, which has the names of Go fields."""
    return {"MatchExpressions": selector.get("matchExpressions")}


def _scope_selector(selector: Obj | None, hard: Obj, scopes: Any) -> Errors:
    if selector is None:
        return []
    path = "spec.scopeSelector.matchExpressions"
    requirements = selector.get("matchExpressions") or []
    errors: Errors = []
    for requirement in requirements:
        scope, operator = requirement.get("scopeName", ""), requirement.get("operator", "")
        values = requirement.get("values") or []
        if scope not in _SCOPES:
            errors.append(field.invalid(f"{path}.scopeName", scope, "unsupported scope"))
        errors += [
            field.invalid(path, _shown(selector), "unsupported scope applied to resource")
            for name in sorted(hard)
            if scope in _SCOPES and resources.is_quota_standard(name) and not _fits(scope, name)
        ]
        if scope in _POD_SCOPES and scope != "PriorityClass" and operator != "Exists":
            detail = f"must be 'Exists' when scope is any of {_NAMED_SCOPES}"
            errors.append(field.invalid(f"{path}.operator", operator, detail))
        if operator in ("In", "NotIn"):
            if not values:
                detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                errors.append(field.required(f"{path}.values", detail))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                errors.append(field.invalid(f"{path}.values", values, detail))
        else:
            errors.append(field.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    names = {r.get("scopeName") for r in requirements}
    for one, other in _CONFLICTS:
        if one in names and other in names:
            # Upstream shows the other list of scopes here.
            errors.append(field.invalid(path, scopes or None, "conflicting scopes"))
    return errors


def _update_quota(obj: Obj, old: Obj) -> Errors:
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    errors: Errors = []
    if set(spec.get("scopes") or ()) != set(before.get("scopes") or ()):
        errors.append(field.invalid("spec.scopes", spec.get("scopes"), "field is immutable"))
    return errors


def _quota_status(obj: Obj, old: Obj) -> Errors:
    status = obj.get("status") or {}
    return _hard(status.get("hard") or {}, "status.hard") + _hard(status.get("used") or {}, "status.used")


RULES = {
    ("", "limitranges"): Rules(create=_limit_range),
    ("", "resourcequotas"): Rules(
        create=_quota, update=_update_quota, subresources={"status": _quota_status}, metadata_again=False
    ),
}
