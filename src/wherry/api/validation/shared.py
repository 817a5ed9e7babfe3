"""Rules that many kinds share: label selectors, numbers, quantities, references."""

from collections.abc import Mapping
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks

Obj = dict[str, Any]
Errors = list[FieldError]

NON_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"
IMMUTABLE = "field is immutable"
MAX_INT32 = 2**31 - 1


def non_negative(value: int | None, path: str) -> Errors:
    """Check a number that must not be below zero."""
    return [field.invalid(path, value, NON_NEGATIVE)] if value is not None and value < 0 else []


def immutable(new: Any, old: Any, path: str) -> Errors:
    """Check a value that may not change."""
    return [field.invalid(path, new, IMMUTABLE)] if new != old else []


def named(value: str, path: str, rule: Any) -> Errors:
    """Turn what `rule` has against a string into errors."""
    return [field.invalid(path, value, m) for m in rule(value)]


def required(value: Any, path: str, detail: str = "") -> Errors:
    """Ask for a value that is not empty."""
    return [] if value else [field.required(path, detail)]


def label_selector(selector: Obj | None, path: str) -> Errors:
    """Check a label selector (metav1 ``ValidateLabelSelector``)."""
    errors: Errors = []
    if not selector:
        return errors
    for key, value in (selector.get("matchLabels") or {}).items():
        errors += named(key, f"{path}.matchLabels", checks.qualified_name)
        errors += named(value, f"{path}.matchLabels", checks.label_value)
    for i, requirement in enumerate(selector.get("matchExpressions") or ()):
        errors += label_requirement(requirement, f"{path}.matchExpressions[{i}]")
    return errors


def label_requirement(requirement: Obj, path: str) -> Errors:
    """Check one expression of a label selector."""
    errors: Errors = []
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(field.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(field.forbidden(f"{path}.values", detail))
    else:
        errors.append(field.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    errors += named(requirement.get("key", ""), f"{path}.key", checks.qualified_name)
    for i, value in enumerate(values):
        errors += named(value, f"{path}.values[{i}]", checks.label_value)
    return errors


def is_empty_selector(selector: Obj | None) -> bool:
    """Tell whether a label selector has no requirement."""
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def selects(selector: Obj | None, labels: Mapping[str, str] | None) -> bool:
    """Tell whether a valid label selector matches; an absent one matches nothing, an empty one everything."""
    if selector is None:
        return False
    labels = labels or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for requirement in selector.get("matchExpressions") or ():
        key, operator, values = requirement.get("key"), requirement.get("operator"), requirement.get("values") or ()
        if operator == "In" and labels.get(key) not in values:
            return False
        if operator == "NotIn" and key in labels and labels[key] in values:
            return False
        if operator == "Exists" and key not in labels:
            return False
        if operator == "DoesNotExist" and key in labels:
            return False
    return True


def port_or_name(value: int | str | None, path: str) -> Errors:
    """Check a port that is a number or the name of a port."""
    if isinstance(value, str):
        return named(value, path, checks.port_name)
    return [field.invalid(path, value or 0, m) for m in checks.port_number(value or 0)]


def is_percent(value: Any) -> bool:
    """Tell whether an int-or-string is a percentage."""
    return isinstance(value, str) and not checks.percent(value)


def percent_of(value: Any) -> int | None:
    """Return the number of a percentage, None for what is none."""
    return int(value[:-1]) if is_percent(value) else None


def int_or_percent(value: Any, path: str) -> Errors:
    """Check a count that may be a percentage."""
    if isinstance(value, str):
        return named(value, path, checks.percent)
    return non_negative(value, path)


def at_most_100_percent(value: Any, path: str) -> Errors:
    """Check that a percentage is not above a hundred."""
    percent = percent_of(value)
    if percent is not None and percent > 100:
        return [field.invalid(path, value, "must not be greater than 100%")]
    return []


def local_descending_path(value: str, path: str) -> Errors:
    """Check a path that must stay below where it begins."""
    errors: Errors = []
    if value.startswith("/"):
        errors.append(field.invalid(path, value, "must be a relative path"))
    return errors + no_backsteps(value, path)


def no_backsteps(value: str, path: str) -> Errors:
    """Check that a path has no ``..``."""
    return [field.invalid(path, value, "must not contain '..'")] if ".." in value.split("/") else []


def local_non_reserved_path(value: str, path: str) -> Errors:
    """Check a path below a volume: names that begin with two dots are the kubelet's."""
    errors = local_descending_path(value, path)
    if value.startswith("..") and not value.startswith("../"):
        errors.append(field.invalid(path, value, "must not start with '..'"))
    return errors


def optional_mode(value: int | None, path: str) -> Errors:
    """Check the permission bits of a file."""
    if value is not None and not 0 <= value <= 0o777:
        detail = "must be a number between 0 and 0777 (octal), both inclusive"
        return [field.invalid(path, value, detail)]
    return []
