"""What claims for devices and slices of devices have in common (``resource.k8s.io``)."""

import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from wherry.api import field
from wherry.api.cel import CompileError
from wherry.api.cel.devices import selector as compiled
from wherry.api.cel.types import BOOL, DYN
from wherry.api.field import FieldError
from wherry.api.names import is_c_identifier
from wherry.api.validation import checks
from wherry.api.validation.shared import named
from wherry.api.validation.volumes import driver_name

Obj = dict[str, Any]
Errors = list[FieldError]
ItemRule = Callable[[Any, str], Errors]

MAX_ITEMS = 32
TAINT_EFFECTS = ("NoExecute", "NoSchedule", "None")
_MAX_DOMAIN_LENGTH = 63
_MAX_ID_LENGTH = 32
MAX_QUALIFIED_LENGTH = _MAX_DOMAIN_LENGTH + 1 + _MAX_ID_LENGTH
_EXPRESSION_LIMIT = 10 * 1024
_PARAMETERS_LIMIT = 10 * 1024
_POOL_NAME_LIMIT = 253
_OPERATORS = ("Equal", "Exists")


def items(found: Sequence[Any], path: str, rule: ItemRule, most: int = MAX_ITEMS) -> Errors:
    """Check the members of a list; of one that is too long only that is told."""
    if len(found) > most:
        return [field.too_many(path, len(found), most)]
    return [e for i, item in enumerate(found) for e in rule(item, f"{path}[{i}]")]


def unique_items(
    found: Sequence[Any], path: str, rule: ItemRule, key: Callable[[Any], Hashable], most: int = MAX_ITEMS
) -> Errors:
    """Check the members of a list, and then that no two have the same key."""
    errors = items(found, path, rule, most)
    if len(found) > most:
        return errors
    seen: set[Hashable] = set()
    for i, item in enumerate(found):
        if key(item) in seen:
            errors.append(field.duplicate(f"{path}[{i}]", key(item)))
        seen.add(key(item))
    return errors


def entries(
    found: dict[str, Any], path: str, key_rule: ItemRule, rule: ItemRule, *, most: int | None, shown: int
) -> Errors:
    """Check the keys and values of a map; keys longer than `shown` are told with their middle left out."""
    if most is not None and len(found) > most:
        return [field.too_many(path, len(found), most)]
    errors: Errors = []
    for key, value in found.items():
        at = f"{path}[{_shortened(key, max(shown, 16))}]"
        errors += key_rule(key, at) + rule(value, at)
    return errors


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    rest = most - 3
    return f"{text[: (rest + 1) // 2]}...{text[len(text) - rest // 2 :]}"


def label(name: str, path: str) -> Errors:
    """Check a name that is a DNS label."""
    return named(name, path, checks.label)


def pool_name(name: str, path: str) -> Errors:
    """Check the name of a pool: subdomains with slashes between."""
    if not name:
        return [field.required(path)]
    errors = [field.too_long(path, _POOL_NAME_LIMIT)] if len(name) > _POOL_NAME_LIMIT else []
    return errors + [e for part in name.split("/") for e in named(part, path, checks.subdomain)]


def qualified_name(name: str, path: str) -> Errors:
    """Check the name of an attribute: an identifier, a domain may be before it."""
    domain, slash, identifier = name.partition("/")
    if not slash:
        return _identifier(name, path)
    if "/" in identifier:
        return []  # upstream overlooks these
    errors = driver_name(domain, path) if domain else [field.invalid(path, "", "the domain must not be empty")]
    if not identifier:
        return [*errors, field.invalid(path, "", "the name must not be empty")]
    return errors + _identifier(identifier, path)


def fully_qualified_name(name: str, path: str) -> Errors:
    """Check the name of an attribute that must be with its domain."""
    errors = qualified_name(name, path)
    if "/" not in name:
        detail = "a fully qualified name must be a domain and a name separated by a slash"
        errors.append(field.invalid(path, name, detail))
    return errors


def _identifier(name: str, path: str) -> Errors:
    errors = [field.too_long(path, _MAX_ID_LENGTH)] if len(name) > _MAX_ID_LENGTH else []
    return errors + [field.invalid(path, name, m) for m in is_c_identifier(name)]


def selectors(found: list[Obj] | None, path: str) -> Errors:
    """Check selectors of devices."""
    return items(found or [], path, _selector)


def _selector(selector: Obj, path: str) -> Errors:
    if selector.get("cel") is None:
        return [field.required(f"{path}.cel")]
    text, at = selector["cel"].get("expression") or "", f"{path}.cel.expression"
    if len(text.encode()) > _EXPRESSION_LIMIT:
        return [field.too_long(at, _EXPRESSION_LIMIT)]
    try:
        kind = compiled(text).type
    except CompileError as error:
        return [field.invalid(at, text, error.told)]
    if kind not in (BOOL, DYN):
        return [field.invalid(at, text, f"must evaluate to bool or the unknown type, not {kind}")]
    return []


def configuration(config: Obj, path: str) -> Errors:
    """Check the configuration of devices, which only their driver understands."""
    opaque_config, at = config.get("opaque"), f"{path}.opaque"
    if opaque_config is None:
        return [field.required(at)]
    errors = driver_name(opaque_config.get("driver") or "", f"{at}.driver")
    return errors + raw_object(opaque_config.get("parameters"), f"{at}.parameters")


def raw_object(value: Any, path: str) -> Errors:
    """Check a JSON object of any content that must be there."""
    if value is None:
        return [field.required(path)]
    if len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()) > _PARAMETERS_LIMIT:
        return [field.too_long(path, _PARAMETERS_LIMIT)]
    if not isinstance(value, dict):
        return [field.invalid(path, "<value omitted>", "must be a valid JSON object")]
    return []


def toleration(found: Obj, path: str) -> Errors:
    """Check which taints of devices do not matter."""
    errors: Errors = []
    key, operator, value, effect = (found.get(m) or "" for m in ("key", "operator", "value", "effect"))
    if key:
        errors += named(key, f"{path}.key", checks.qualified_name)
    if operator == "Exists":
        if value:
            errors.append(field.invalid(f"{path}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        errors += named(value, f"{path}.value", checks.label_value)
    elif not operator:
        errors.append(field.required(f"{path}.operator"))
    else:
        errors.append(field.not_supported(f"{path}.operator", operator, _OPERATORS))
    if effect and effect not in TAINT_EFFECTS:
        errors.append(field.not_supported(f"{path}.effect", effect, TAINT_EFFECTS))
    return errors


def binding_conditions(found: Obj, path: str) -> Errors:
    """Check which conditions a device must have before its pod is bound, and which say that it never will be."""
    needed, failing = found.get("bindingConditions") or [], found.get("bindingFailureConditions") or []
    at, failing_at = f"{path}.bindingConditions", f"{path}.bindingFailureConditions"

    def condition(name: str, where: str) -> Errors:
        return named(name, where, checks.qualified_name)

    errors = items(needed, at, condition, 4) + items(failing, failing_at, condition, 4)
    errors += [field.duplicate(f"{at}[{i}]", name) for i, name in enumerate(needed) if name in needed[:i]]
    for i, name in enumerate(failing):
        if name in failing[:i]:
            errors.append(field.duplicate(f"{failing_at}[{i}]", name))
        if name in needed:
            detail = "bindingFailureConditions must not overlap with bindingConditions"
            errors.append(field.invalid(f"{failing_at}[{i}]", name, detail))
    if failing and not needed:
        errors.append(field.invalid(at, None, "bindingConditions are required to use bindingFailureConditions"))
    if needed and not failing:
        errors.append(field.invalid(failing_at, None, "bindingFailureConditions are required to use bindingConditions"))
    return errors
