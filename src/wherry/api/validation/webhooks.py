"""Webhook configurations, and the rules that tell which requests webhooks and policies are about."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.expressions import match_conditions
from wherry.api.validation.references import fully_qualified_name, webhook_client
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import label_selector, named

Obj = dict[str, Any]
Errors = list[FieldError]

FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_REINVOCATION = ("IfNeeded", "Never")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_OLD_SIDE_EFFECTS = ("None", "NoneOnDryRun", "Some", "Unknown")
_REVIEW_VERSIONS = ("v1", "v1beta1")


def _create(obj: Obj) -> Errors:
    return _webhooks(obj, None)


def _update(obj: Obj, old: Obj) -> Errors:
    return _webhooks(obj, old)


def _webhooks(obj: Obj, old: Obj | None) -> Errors:
    """What was wrong with any webhook before may stay wrong."""
    before = (old or {}).get("webhooks") or []
    names = [hook.get("name") for hook in before]
    unique = len(set(names)) == len(names)
    strict = all(hook.get("sideEffects") in _SIDE_EFFECTS for hook in before)
    recognized = all(_is_recognized(hook) for hook in before if hook.get("admissionReviewVersions"))
    mutating = obj.get("kind") == "MutatingWebhookConfiguration"
    errors: Errors = []
    seen: set[str] = set()
    for i, hook in enumerate(obj.get("webhooks") or ()):
        path, name = f"webhooks[{i}]", hook.get("name") or ""
        errors += _webhook(hook, path, _SIDE_EFFECTS if strict else _OLD_SIDE_EFFECTS, mutating=mutating)
        errors += _review_versions(hook, f"{path}.admissionReviewVersions", recognized=recognized)
        if unique and name and name in seen:
            errors.append(field.duplicate(f"{path}.name", name))
        seen.add(name)
    return errors


def _is_recognized(hook: Obj) -> bool:
    return any(version in _REVIEW_VERSIONS for version in hook.get("admissionReviewVersions") or ())


def _webhook(hook: Obj, path: str, side_effects: tuple[str, ...], *, mutating: bool) -> Errors:
    errors = fully_qualified_name(hook.get("name") or "", f"{path}.name")
    for i, rule in enumerate(hook.get("rules") or ()):
        errors += rule_with_operations(rule, f"{path}.rules[{i}]")
    errors += _supported(hook, "failurePolicy", FAILURE_POLICIES, path)
    errors += _supported(hook, "matchPolicy", MATCH_POLICIES, path)
    if hook.get("sideEffects") is None:
        errors.append(field.required(f"{path}.sideEffects", f"must specify one of {', '.join(side_effects)}"))
    errors += _supported(hook, "sideEffects", side_effects, path)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        errors.append(field.invalid(f"{path}.timeoutSeconds", seconds, detail))
    for member in ("namespaceSelector", "objectSelector"):
        errors += label_selector(hook.get(member), f"{path}.{member}")
    if mutating:
        errors += _supported(hook, "reinvocationPolicy", _REINVOCATION, path)
    errors += webhook_client(hook.get("clientConfig") or {}, f"{path}.clientConfig")
    return errors + match_conditions(hook.get("matchConditions"), f"{path}.matchConditions")


def _supported(found: Obj, member: str, values: tuple[str, ...], path: str) -> Errors:
    value = found.get(member)
    return [] if value is None or value in values else [field.not_supported(f"{path}.{member}", value, values)]


def _review_versions(hook: Obj, path: str, *, recognized: bool) -> Errors:
    versions = hook.get("admissionReviewVersions") or []
    if not versions:
        return [field.required(path, f"must specify one of {', '.join(_REVIEW_VERSIONS)}")]
    errors: Errors = []
    for i, version in enumerate(versions):
        if version in versions[:i]:
            errors.append(field.invalid(f"{path}[{i}]", version, "duplicate version"))
        else:
            errors += named(version, f"{path}[{i}]", checks.dns1035_label)
    if recognized and not _is_recognized(hook):
        errors.append(field.invalid(path, versions, f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"))
    return errors


def rule_with_operations(rule: Obj, path: str) -> Errors:
    """Check one rule about operations on resources."""
    operations = rule.get("operations") or []
    errors = _wildcard(operations, f"{path}.operations", "operations")
    for i, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            errors.append(field.not_supported(f"{path}.operations[{i}]", operation, _OPERATIONS))
    errors += _wildcard(rule.get("apiGroups") or [], f"{path}.apiGroups", "API groups")
    versions = rule.get("apiVersions") or []
    errors += _wildcard(versions, f"{path}.apiVersions", "API versions")
    errors += [field.required(f"{path}.apiVersions[{i}]") for i, version in enumerate(versions) if not version]
    errors += _resources(rule.get("resources") or [], f"{path}.resources")
    return errors + _supported(rule, "scope", _SCOPES, path)


def _wildcard(found: list[str], path: str, what: str) -> Errors:
    if not found:
        return [field.required(path)]
    if len(found) > 1 and "*" in found:
        return [field.invalid(path, found, f"if '*' is present, must not specify other {what}")]
    return []


def _resources(found: list[str], path: str) -> Errors:
    """Check resources with subresources; a wildcard for either must not stand beside what it covers."""
    errors: Errors = [] if found else [field.required(path)]
    whole_resources: set[str] = set()
    whole_subresources: set[str] = set()
    plain = False
    for i, each in enumerate(found):
        at = f"{path}[{i}]"
        if not each:
            errors.append(field.required(at))
            continue
        resource, slash, subresource = each.partition("/")
        if not slash:
            plain = each != "*"  # upstream remembers the last one
            continue
        if resource in whole_resources:
            errors.append(field.invalid(at, each, f"if '{resource}/*' is present, must not specify {each}"))
        if subresource in whole_subresources:
            errors.append(field.invalid(at, each, f"if '*/{subresource}' is present, must not specify {each}"))
        if subresource == "*":
            whole_resources.add(resource)
        if resource == "*":
            whole_subresources.add(subresource)
    if len(found) > 1 and "*/*" in found:
        errors.append(field.invalid(path, found, "if '*/*' is present, must not specify other resources"))
    if "*" in found and plain:
        detail = "if '*' is present, must not specify other resources without subresources"
        errors.append(field.invalid(path, found, detail))
    return errors


_GROUP = "admissionregistration.k8s.io"
_RULES = Rules(create=_create, update=_update, recheck=False)

RULES = {
    (_GROUP, "validatingwebhookconfigurations"): _RULES,
    (_GROUP, "mutatingwebhookconfigurations"): _RULES,
}
