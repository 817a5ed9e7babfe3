"""Conditions of a status in their common form (metav1 ``ValidateConditions``)."""

import re
from typing import Any

from wherry.api import field, names
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

STATUSES = ("False", "True", "Unknown")
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON_RULE = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_'"
)
_REASON_LIMIT = 1024
_MESSAGE_LIMIT = 32 * 1024


def conditions(found: list[Obj] | None, path: str) -> Errors:
    """Check conditions, and that there is one of a type."""
    errors: Errors = []
    seen: set[str] = set()
    for i, condition in enumerate(found or ()):
        kind = condition.get("type") or ""
        if kind in seen:
            errors.append(field.duplicate(f"{path}[{i}].type", kind))
        seen.add(kind)
        errors += _condition(condition, f"{path}[{i}]")
    return errors


def _condition(condition: Obj, path: str) -> Errors:
    errors = named(condition.get("type") or "", f"{path}.type", checks.qualified_name)
    status = condition.get("status") or ""
    if status not in STATUSES:
        errors.append(field.not_supported(f"{path}.status", status, STATUSES))
    generation = condition.get("observedGeneration") or 0
    if generation < 0:
        detail = "must be greater than or equal to zero"
        errors.append(field.invalid(f"{path}.observedGeneration", generation, detail))
    if not condition.get("lastTransitionTime"):
        errors.append(field.required(f"{path}.lastTransitionTime"))
    reason = condition.get("reason") or ""
    if not reason:
        errors.append(field.required(f"{path}.reason"))
    else:
        if not re.fullmatch(_REASON, reason, re.ASCII):
            examples = ("my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")
            errors.append(field.invalid(f"{path}.reason", reason, names.regex_error(_REASON_RULE, _REASON, *examples)))
        if len(reason.encode()) > _REASON_LIMIT:
            errors.append(field.too_long(f"{path}.reason", _REASON_LIMIT))
    if len((condition.get("message") or "").encode()) > _MESSAGE_LIMIT:
        errors.append(field.too_long(f"{path}.message", _MESSAGE_LIMIT))
    return errors
