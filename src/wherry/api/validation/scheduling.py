"""What a pod says about where it may run: affinity, tolerations, topology spread, gates."""

from collections.abc import Mapping
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.shared import POSITIVE, label_selector, named

Obj = dict[str, Any]
Errors = list[FieldError]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def affinity(found: Obj, path: str) -> Errors:
    """Check the affinity of a pod."""
    errors: Errors = []
    node = found.get("nodeAffinity")
    if node:
        at = f"{path}.nodeAffinity"
        if node.get(_REQUIRED) is not None:
            errors += node_selector(node[_REQUIRED], f"{at}.{_REQUIRED}")
        for i, term in enumerate(node.get(_PREFERRED) or ()):
            errors += _weight(term, f"{at}.{_PREFERRED}[{i}]")
            preference = term.get("preference") or {}
            errors += node_selector_term(preference, f"{at}.{_PREFERRED}[{i}].preference", any_value=True)
    for kind in ("podAffinity", "podAntiAffinity"):
        if found.get(kind):
            errors += _pod_affinity(found[kind], f"{path}.{kind}")
    return errors


def _weight(term: Obj, path: str) -> Errors:
    weight = term.get("weight", 0)
    return [] if 1 <= weight <= 100 else [field.invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def node_selector(selector: Obj, path: str) -> Errors:
    """Check a node selector: some terms, each of which may match."""
    terms = selector.get("nodeSelectorTerms") or []
    at = f"{path}.nodeSelectorTerms"
    if not terms:
        return [field.required(at, "must have at least one node selector term")]
    return [e for i, term in enumerate(terms) for e in node_selector_term(term, f"{at}[{i}]")]


def node_selector_term(term: Obj, path: str, *, any_value: bool = False) -> Errors:
    """Check one term of a node selector. `any_value`: values need not be those of a label, as in what is preferred."""
    errors: Errors = []
    for i, requirement in enumerate(term.get("matchExpressions") or ()):
        errors += _node_requirement(requirement, f"{path}.matchExpressions[{i}]", any_value)
    for i, requirement in enumerate(term.get("matchFields") or ()):
        errors += _node_field(requirement, f"{path}.matchFields[{i}]")
    return errors


def _node_requirement(requirement: Obj, path: str, any_value: bool) -> Errors:
    errors: Errors = []
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    at = f"{path}.values"
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(field.required(at, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.append(field.forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            errors.append(field.required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    else:
        errors.append(field.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    errors += named(requirement.get("key", ""), f"{path}.key", checks.qualified_name)
    for i, value in enumerate(() if any_value else values):
        errors += named(value, f"{at}[{i}]", checks.label_value)
    return errors


def _node_field(requirement: Obj, path: str) -> Errors:
    errors: Errors = []
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            errors.append(field.required(f"{path}.values", detail))
    else:
        errors.append(field.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    key = requirement.get("key", "")
    if key != "metadata.name":
        errors.append(field.invalid(f"{path}.key", key, "not a valid field selector key"))
    else:
        for i, value in enumerate(values):
            errors += named(value, f"{path}.values[{i}]", checks.subdomain)
    return errors


def _pod_affinity(found: Obj, path: str) -> Errors:
    errors: Errors = []
    for i, term in enumerate(found.get(_REQUIRED) or ()):
        errors += _pod_term(term, f"{path}.{_REQUIRED}[{i}]")
    for i, weighted in enumerate(found.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{i}]"
        errors += _weight(weighted, at)
        errors += _pod_term(weighted.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")
    return errors


def _pod_term(term: Obj, path: str) -> Errors:
    errors = label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    errors += label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for namespace in term.get("namespaces") or ():
        errors += named(namespace, f"{path}.namespace", checks.label)
    errors += _match_label_keys(term, path)
    key = term.get("topologyKey", "")
    if not key:
        errors.append(field.required(f"{path}.topologyKey", "can not be empty"))
    return errors + named(key, f"{path}.topologyKey", checks.qualified_name)


def _match_label_keys(term: Obj, path: str) -> Errors:
    """Check keys whose values come from the pod's own labels: upstream adds these to the selector before it looks."""
    errors: Errors = []
    keys, other = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or []
    selector = term.get("labelSelector")
    for member, found in (("matchLabelKeys", keys), ("mismatchLabelKeys", other)):
        at = f"{path}.{member}"
        if found and selector is None:
            errors.append(field.forbidden(at, "must not be specified when labelSelector is not set"))
        elif found:
            errors += [e for i, key in enumerate(found) for e in named(key, f"{at}[{i}]", checks.qualified_name)]
    selected = set((selector or {}).get("matchLabels") or ())
    for expression in (selector or {}).get("matchExpressions") or ():
        key = expression.get("key", "")
        if key in keys and key in selected:
            detail = "exists in both matchLabelKeys and labelSelector"
            errors.append(field.invalid(f"{path}[{keys.index(key)}]", key, detail))
        selected.add(key)
    for i, key in enumerate(keys):
        if key in other:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(field.invalid(f"{path}.matchLabelKeys[{i}]", key, detail))
    return errors


def tolerations(found: list[Obj], path: str) -> Errors:
    """Check tolerations."""
    errors: Errors = []
    for i, toleration in enumerate(found):
        at = f"{path}[{i}]"
        key, operator = toleration.get("key", ""), toleration.get("operator", "")
        value, effect = toleration.get("value", ""), toleration.get("effect", "")
        if key:
            errors += named(key, f"{at}.key", checks.qualified_name)
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(field.invalid(f"{at}.operator", operator, detail))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(field.invalid(f"{at}.effect", effect, detail))
        if operator in ("", "Equal"):
            wrong = checks.label_value(value)
            if wrong:
                errors.append(field.invalid(f"{at}.operator", value, ";".join(wrong)))
        elif operator == "Exists":
            if value:
                detail = "value must be empty when `operator` is 'Exists'"
                errors.append(field.invalid(f"{at}.operator", value, detail))
        else:
            errors.append(field.not_supported(f"{at}.operator", operator, ("Equal", "Exists"), ordered=True))
        if effect and effect not in TAINT_EFFECTS:
            errors.append(field.not_supported(f"{at}.effect", effect, TAINT_EFFECTS, ordered=True))
    return errors


def topology_spread(found: list[Obj], path: str) -> Errors:
    """Check topology spread constraints."""
    errors: Errors = []
    for i, constraint in enumerate(found):
        at = f"{path}[{i}]"
        skew, key = constraint.get("maxSkew", 0), constraint.get("topologyKey", "")
        action = constraint.get("whenUnsatisfiable", "")
        if skew <= 0:
            errors.append(field.invalid(f"{at}.maxSkew", skew, POSITIVE))
        if not key:
            errors.append(field.required(f"{at}.topologyKey", "can not be empty"))
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            known = ("DoNotSchedule", "ScheduleAnyway")
            errors.append(field.not_supported(f"{at}.whenUnsatisfiable", action, known))
        pair = (key, action)
        if any((c.get("topologyKey", ""), c.get("whenUnsatisfiable", "")) == pair for c in found[i + 1 :]):
            errors.append(field.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        errors += _min_domains(constraint.get("minDomains"), action, f"{at}.minDomains")
        for member in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(member)
            if policy is not None and policy not in ("Honor", "Ignore"):
                errors.append(field.not_supported(f"{at}.{member}", policy, ("Honor", "Ignore")))
        errors += _match_label_keys(constraint, at)
        errors += label_selector(constraint.get("labelSelector"), f"{at}.labelSelector")
    return errors


def _min_domains(domains: int | None, action: str, path: str) -> Errors:
    if domains is None:
        return []
    errors: Errors = []
    if domains <= 0:
        errors.append(field.invalid(path, domains, POSITIVE))
    if action != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        errors.append(field.invalid(path, domains, detail))
    return errors


def scheduling_gates(found: list[Obj], path: str) -> Errors:
    """Check scheduling gates."""
    errors: Errors = []
    seen: set[str] = set()
    for i, gate in enumerate(found):
        name = gate.get("name", "")
        errors += named(name, f"{path}[{i}]", checks.qualified_name)
        if name in seen:
            errors.append(field.duplicate(f"{path}[{i}]", name))
        seen.add(name)
    return errors


def matches_toleration(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two tolerations are the same but for their seconds."""
    return all((one.get(m) or "") == (other.get(m) or "") for m in ("key", "operator", "value", "effect"))
