"""ValidatingAdmissionPolicies, MutatingAdmissionPolicies and what binds them."""

from functools import partial
from typing import Any

from wherry.api import field
from wherry.api.cel import Type, admission
from wherry.api.cel.types import BOOL, NULL, STRING, list_of
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.conditions import conditions
from wherry.api.validation.expressions import expression, match_conditions, own_variables
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import label_selector, named
from wherry.api.validation.webhooks import FAILURE_POLICIES, MATCH_POLICIES, rule_with_operations

Obj = dict[str, Any]
Errors = list[FieldError]

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Audit", "Deny", "Warn")
_MUTABLE = ("*", "CONNECT", "CREATE", "UPDATE")
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_ONE_CHECK = "validations or auditAnnotations must contain at least one item"
_DENY_AND_WARN = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and "
    "headers serves no purpose)"
)
_MAX_ANNOTATIONS = 20
_ANNOTATION_LIMIT = 5 * 1024


def _common(spec: Obj) -> tuple[dict[str, Type] | None, Errors]:
    """Check what all policies have; return the types of the policy's variables."""
    policy, kind, constraints = (spec.get(m) for m in ("failurePolicy", "paramKind", "matchConstraints"))
    errors: Errors = []
    if policy is None:
        errors.append(field.required("spec.failurePolicy"))
    elif policy not in FAILURE_POLICIES:
        errors.append(field.not_supported("spec.failurePolicy", policy, FAILURE_POLICIES))
    if kind is not None:
        errors += _param_kind(kind, "spec.paramKind")
    if constraints is None:
        errors.append(field.required("spec.matchConstraints"))
    else:
        errors += _match_resources(constraints, "spec.matchConstraints")
        if not constraints.get("resourceRules"):
            errors.append(field.required("spec.matchConstraints.resourceRules"))
    params = kind is not None
    errors += match_conditions(spec.get("matchConditions"), "spec.matchConditions", params=params)
    own, wrong = own_variables(spec.get("variables"), "spec.variables", params=params)
    return own, errors + wrong


def _param_kind(kind: Obj, path: str) -> Errors:
    version, name, at = kind.get("apiVersion") or "", kind.get("kind") or "", f"{path}.apiVersion"
    errors: Errors = []
    group, _, number = version.rpartition("/")
    if not version:
        errors.append(field.required(at))
    elif version.count("/") > 1:
        errors.append(field.invalid(at, version, f"unexpected GroupVersion string: {version}"))
    else:
        if group and checks.subdomain(group):
            errors.append(field.invalid(at, group, ",".join(checks.subdomain(group))))
        if not number:
            errors.append(field.invalid(at, version, "version must be specified"))
        elif checks.dns1035_label(number):
            errors.append(field.invalid(at, number, ",".join(checks.dns1035_label(number))))
    if not name:
        errors.append(field.required(f"{path}.kind"))
    elif checks.dns1035_label(name.lower()):
        detail = "may have mixed case, but should otherwise match: " + ",".join(checks.dns1035_label(name.lower()))
        errors.append(field.invalid(f"{path}.kind", name, detail))
    return errors


def _match_resources(found: Obj, path: str) -> Errors:
    errors: Errors = []
    policy = found.get("matchPolicy")
    if policy is None:
        errors.append(field.required(f"{path}.matchPolicy"))
    elif policy not in MATCH_POLICIES:
        errors.append(field.not_supported(f"{path}.matchPolicy", policy, MATCH_POLICIES))
    for member in ("namespaceSelector", "objectSelector"):
        if found.get(member) is None:
            errors.append(field.required(f"{path}.{member}"))
        else:
            errors += label_selector(found[member], f"{path}.{member}")
    for member in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(found.get(member) or ()):
            errors += _named_rule(rule, f"{path}.{member}[{i}]")
    return errors


def _named_rule(rule: Obj, path: str) -> Errors:
    errors: Errors = []
    names = rule.get("resourceNames") or []
    for i, name in enumerate(names):
        at = f"{path}.resourceNames[{i}]"
        errors += [field.invalid(at, name, m) for m in metadata.path_segment(name, False)]
        if name in names[:i]:
            errors.append(field.duplicate(at, name))
    return errors + rule_with_operations(rule, path)


def _mutable_operations(found: Obj, path: str) -> Errors:
    """What is deleted cannot be changed."""
    operations = [o for rule in found.get("resourceRules") or () for o in rule.get("operations") or ()]
    at = f"{path}.resourceRules.operations"
    return [field.not_supported(at, operation, _MUTABLE) for operation in operations if operation not in _MUTABLE]


def _validating(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    own, errors = _common(spec)
    validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
    params = spec.get("paramKind") is not None
    if not validations and not annotations:
        return [*errors, *(field.required(f"spec.{m}", _ONE_CHECK) for m in ("validations", "auditAnnotations"))]
    for i, validation in enumerate(validations):
        errors += _validation(validation, f"spec.validations[{i}]", own, params=params)
    if len(annotations) > _MAX_ANNOTATIONS:
        detail = f"must not have more than {_MAX_ANNOTATIONS} auditAnnotations"
        shown = [{"Key": a.get("key"), "ValueExpression": a.get("valueExpression")} for a in annotations]
        errors.append(field.invalid("spec.auditAnnotations", shown, detail))
    name = obj["metadata"].get("name") or ""
    variables = admission.variables(params=params, own=own)
    seen: set[str] = set()
    for i, annotation in enumerate(annotations):
        path, key = f"spec.auditAnnotations[{i}]", annotation.get("key") or ""
        errors += _annotation(annotation, path, name, variables)
        if key in seen:
            errors.append(field.duplicate(f"{path}.key", key))
        seen.add(key)
    return errors


def _validation(found: Obj, path: str, own: dict[str, Type] | None, *, params: bool) -> Errors:
    text, message, told = (found.get(m) or "" for m in ("expression", "message", "messageExpression"))
    errors: Errors = []
    if text.strip():
        errors += expression(text, f"{path}.expression", admission.variables(params=params, own=own), BOOL)
    else:
        errors.append(field.required(f"{path}.expression", "expression is not specified"))
    if told and not told.strip():
        errors.append(field.invalid(f"{path}.messageExpression", told, "must be non-empty if specified"))
    elif told:
        variables = admission.variables(params=params, authorizer=False, own=own)
        errors += expression(told, f"{path}.messageExpression", variables, STRING)
    if message and not message.strip():
        errors.append(field.invalid(f"{path}.message", message, "message must be non-empty if specified"))
    elif "\n" in message.strip() or "\r" in message.strip():
        errors.append(field.invalid(f"{path}.message", message, "message must not contain line breaks"))
    reason = found.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(field.not_supported(f"{path}.reason", reason, _REASONS))
    return errors


def _annotation(found: Obj, path: str, name: str, variables: dict[str, Type]) -> Errors:
    key, text, at = found.get("key") or "", (found.get("valueExpression") or "").strip(), f"{path}.valueExpression"
    full = f"{name}/{key}"
    errors = [field.invalid(f"{path}.key", full, m) for m in checks.qualified_name(full)]
    if not text:
        return [*errors, field.required(at, "valueExpression is not specified")]
    if len(text.encode()) > _ANNOTATION_LIMIT:
        return [*errors, field.required(at, f"must not exceed {_ANNOTATION_LIMIT} bytes in length")]
    return errors + expression(text, at, variables, STRING, NULL)


def _mutating(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    own, errors = _common(spec)
    errors += _mutable_operations(spec.get("matchConstraints") or {}, "spec.matchConstraints")
    mutations, policy = spec.get("mutations") or [], spec.get("reinvocationPolicy")
    if not mutations:
        errors.append(field.required("spec.mutations", "mutations must contain at least one item"))
    variables = admission.variables(params=spec.get("paramKind") is not None, own=own)
    for i, mutation in enumerate(mutations):
        errors += _mutation(mutation, f"spec.mutations[{i}]", variables)
    if not policy:
        errors.append(field.required("spec.reinvocationPolicy"))
    elif policy not in ("Never", "IfNeeded"):
        errors.append(field.not_supported("spec.reinvocationPolicy", policy, ("Never", "IfNeeded"), ordered=True))
    return errors


def _mutation(mutation: Obj, path: str, variables: dict[str, Type]) -> Errors:
    kind = mutation.get("patchType") or ""
    if not kind:
        return [field.required(f"{path}.patchType")]
    if kind not in _PATCHES:
        return [field.not_supported(f"{path}.patchType", kind, _PATCHES)]
    errors: Errors = []
    member = _PATCHES[kind]
    wanted = admission.OBJECT if kind == "ApplyConfiguration" else list_of(admission.JSON_PATCH)
    if mutation.get(member) is None:
        errors.append(field.required(f"{path}.{member}", f"must be specified when patchType is {kind}"))
    else:
        text, at = (mutation[member].get("expression") or "").strip(), f"{path}.{member}.expression"
        errors += expression(text, at, variables, wanted) if text else [field.required(at)]
    for other in _PATCHES.values():
        if other != member and mutation.get(other) is not None:
            detail = f"must not be specified when patchType is {kind}"
            errors.append(field.invalid(f"{path}.{other}", f"{{{other}}}", detail))
    return errors


def _binding(obj: Obj, *, mutating: bool) -> Errors:
    spec = obj.get("spec") or {}
    name, resources = spec.get("policyName") or "", spec.get("matchResources")
    errors = named(name, "spec.policyName", checks.subdomain) if name else [field.required("spec.policyName")]
    if spec.get("paramRef") is not None:
        errors += _param_ref(spec["paramRef"], "spec.paramRef")
    if resources is not None:
        errors += _match_resources(resources, "spec.matchResources")
    if mutating:
        return errors + _mutable_operations(resources or {}, "spec.matchResources")
    return errors + _actions(spec.get("validationActions") or [], "spec.validationActions")


def _param_ref(ref: Obj, path: str) -> Errors:
    errors: Errors = []
    name, selector, action = ref.get("name") or "", ref.get("selector"), ref.get("parameterNotFoundAction")
    exclusive = "name and selector are mutually exclusive"
    if name:
        errors += [field.invalid(f"{path}.name", name, m) for m in metadata.path_segment(name, False)]
        if selector is not None:
            errors.append(field.forbidden(f"{path}.name", exclusive))
    if selector is not None:
        errors += label_selector(selector, f"{path}.selector")
        if name:
            errors.append(field.forbidden(f"{path}.selector", exclusive))
    if not name and selector is None:
        errors.append(field.required(path, "one of name or selector must be specified"))
    at = f"{path}.parameterNotFoundAction"
    if not action:
        errors.append(field.required(at))
    elif action not in ("Deny", "Allow"):
        errors.append(field.not_supported(at, action, ("Deny", "Allow"), ordered=True))
    return errors


def _actions(actions: list[str], path: str) -> Errors:
    errors: Errors = []
    for i, action in enumerate(actions):
        if action not in _ACTIONS:
            errors.append(field.not_supported(f"{path}[{i}]", action, _ACTIONS))
        if action in actions[:i]:
            errors.append(field.duplicate(f"{path}[{i}]", action))
    if "Deny" in actions and "Warn" in actions:
        errors.append(field.invalid(path, actions, _DENY_AND_WARN))
    if not actions:
        errors.append(field.required(path, "at least one validation action is required"))
    return errors


def _update_status(obj: Obj, old: Obj) -> Errors:
    status = obj.get("status") or {}
    errors: Errors = []
    for i, warning in enumerate((status.get("typeChecking") or {}).get("expressionWarnings") or ()):
        path = f"status.typeChecking.expressionWarnings[{i}]"
        if not warning.get("warning"):
            errors.append(field.required(f"{path}.warning"))
        if not (warning.get("fieldRef") or "").strip():
            errors.append(field.required(f"{path}.fieldRef"))
    return errors + conditions(status.get("conditions"), "status.conditions")


_GROUP = "admissionregistration.k8s.io"

RULES = {
    (_GROUP, "validatingadmissionpolicies"): Rules(create=_validating, subresources={"status": _update_status}),
    (_GROUP, "mutatingadmissionpolicies"): Rules(create=_mutating),
    (_GROUP, "validatingadmissionpolicybindings"): Rules(create=partial(_binding, mutating=False)),
    (_GROUP, "mutatingadmissionpolicybindings"): Rules(create=partial(_binding, mutating=True)),
}
