"""Roles and bindings (``rbac.authorization.k8s.io``)."""

from functools import partial
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.references import path_name
from wherry.api.validation.rules import CreateRule, Rules, UpdateRule
from wherry.api.validation.shared import label_selector, named

Obj = dict[str, Any]
Errors = list[FieldError]

_GROUP = "rbac.authorization.k8s.io"
_ONLY_URLS = "rules cannot apply to both regular resources and non-resource URLs"


def _role(obj: Obj) -> Errors:
    return [e for i, rule in enumerate(obj.get("rules") or ()) for e in _rule(rule, f"rules[{i}]", namespaced=True)]


def _cluster_role(obj: Obj) -> Errors:
    errors = [e for i, rule in enumerate(obj.get("rules") or ()) for e in _rule(rule, f"rules[{i}]", namespaced=False)]
    aggregation = obj.get("aggregationRule")
    if aggregation is None:
        return errors
    selectors, path = aggregation.get("clusterRoleSelectors") or [], "aggregationRule.clusterRoleSelectors"
    if not selectors:
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        errors.append(field.required(path, detail))
    for i, selector in enumerate(selectors):
        wrong = label_selector(selector, f"{path}[{i}]")
        if wrong:
            errors += [*wrong, field.invalid(f"{path}[{i}]", None, "invalid label selector.")]
    return errors


def _rule(rule: Obj, path: str, *, namespaced: bool) -> Errors:
    errors: Errors = []
    if not rule.get("verbs"):
        errors.append(field.required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        at = f"{path}.nonResourceURLs"
        if namespaced:
            errors.append(field.invalid(at, urls, "namespaced rules cannot apply to non-resource URLs"))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            errors.append(field.invalid(at, urls, _ONLY_URLS))
        return errors
    if not rule.get("apiGroups"):
        errors.append(field.required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(field.required(f"{path}.resources", "resource rules must supply at least one resource"))
    return errors


def _binding(obj: Obj, kinds: tuple[str, ...]) -> Errors:
    errors: Errors = []
    ref = obj.get("roleRef") or {}
    group, kind = ref.get("apiGroup") or "", ref.get("kind") or ""
    if group != _GROUP:
        errors.append(field.not_supported("roleRef.apiGroup", group, (_GROUP,)))
    if kind not in kinds:
        errors.append(field.not_supported("roleRef.kind", kind, kinds, ordered=True))
    errors += path_name(ref.get("name") or "", "roleRef.name")
    for i, subject in enumerate(obj.get("subjects") or ()):
        errors += _subject(subject, f"subjects[{i}]", namespaced="Role" in kinds)
    return errors


def _subject(subject: Obj, path: str, *, namespaced: bool) -> Errors:
    errors: Errors = []
    name, kind, group = (subject.get(m) or "" for m in ("name", "kind", "apiGroup"))
    if not name:
        errors.append(field.required(f"{path}.name"))
    if kind == "ServiceAccount":
        if name:
            errors += named(name, f"{path}.name", checks.subdomain)
        if group:
            errors.append(field.not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            errors.append(field.required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != _GROUP:
            errors.append(field.not_supported(f"{path}.apiGroup", group, (_GROUP,)))
    else:
        kinds = ("ServiceAccount", "User", "Group")
        errors.append(field.not_supported(f"{path}.kind", kind, kinds, ordered=True))
    return errors


def _update_binding(obj: Obj, old: Obj, check: CreateRule) -> Errors:
    ref, before = obj.get("roleRef") or {}, old.get("roleRef") or {}
    changed = [field.invalid("roleRef", _go_names(ref), "cannot change roleRef")] if ref != before else []
    return check(obj) + changed


def _go_names(ref: Obj) -> Obj:
    """Upstream's internal form of a reference has the names of its Go fields."""
    return {go: ref.get(member) or "" for go, member in (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))}


def _twice(check: CreateRule) -> UpdateRule:
    """Upstream checks an update twice, and answers each error as often."""
    return lambda obj, old: check(obj)


_role_binding: CreateRule = partial(_binding, kinds=("Role", "ClusterRole"))
_cluster_role_binding: CreateRule = partial(_binding, kinds=("ClusterRole",))

RULES = {
    (_GROUP, "roles"): Rules(create=_role, update=_twice(_role), name=metadata.path_segment),
    (_GROUP, "clusterroles"): Rules(create=_cluster_role, update=_twice(_cluster_role), name=metadata.path_segment),
    (_GROUP, "rolebindings"): Rules(
        create=_role_binding, update=partial(_update_binding, check=_role_binding), name=metadata.path_segment
    ),
    (_GROUP, "clusterrolebindings"): Rules(
        create=_cluster_role_binding,
        update=partial(_update_binding, check=_cluster_role_binding),
        name=metadata.path_segment,
    ),
}
