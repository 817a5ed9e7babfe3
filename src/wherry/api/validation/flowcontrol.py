"""FlowSchemas and PriorityLevelConfigurations, of which the mandatory ones cannot be changed."""

from math import ceil, log2
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

_METHODS = ("ByNamespace", "ByUser")
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_LEVEL_TYPES = ("Exempt", "Limited")
_RESPONSE_TYPES = ("Queue", "Reject")
_MAX_PRECEDENCE = 10000
_MAX_QUEUES = 10_000_000
_MAX_HASH_BITS = 60


def _everything(subjects: list[Obj]) -> list[Obj]:
    """Return the rules for all requests of some subjects."""
    resources = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    urls = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    return [{"subjects": subjects, "resourceRules": [resources], "nonResourceRules": [urls]}]


def _group(name: str) -> Obj:
    return {"kind": "Group", "group": {"name": name}}


_MANDATORY_SCHEMAS: dict[str, Obj] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": _everything([_group("system:masters")]),
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": 10000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": _everything([_group("system:unauthenticated"), _group("system:authenticated")]),
    },
}
_MANDATORY_LEVELS: dict[str, Obj] = {
    "exempt": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    "catch-all": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0},
    },
}


def _schema(obj: Obj) -> Errors:
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
    errors = _precedence(spec.get("matchingPrecedence") or 0, name)
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        shown = {"Type": method.get("type") or ""}
        errors.append(field.not_supported("spec.distinguisherMethod.type", shown, _METHODS))
    level, path = (spec.get("priorityLevelConfiguration") or {}).get("name"), "spec.priorityLevelConfiguration.name"
    if level:
        errors += named(level, path, checks.subdomain)
    else:
        errors.append(field.required(path, "must reference a priority level"))
    for i, rule in enumerate(spec.get("rules") or ()):
        errors += _rule(rule, f"spec.rules[{i}]")
    fixed = _MANDATORY_SCHEMAS.get(name)
    if fixed is not None and spec != fixed:
        errors.append(field.invalid("spec", {"Spec": spec}, f"spec of '{name}' must equal the fixed value"))
    return errors + _conditions(obj)


def _precedence(value: int, name: str) -> Errors:
    errors: Errors = []
    path = "spec.matchingPrecedence"
    if value <= 0:
        errors.append(field.invalid(path, value, "must be a positive value"))
    if value > _MAX_PRECEDENCE:
        errors.append(field.invalid(path, value, f"must not be greater than {_MAX_PRECEDENCE}"))
    if value == 1 and name != "exempt":
        detail = "only the schema named 'exempt' may have matchingPrecedence 1"
        errors.append(field.invalid(path, value, detail))
    return errors


def _rule(rule: Obj, path: str) -> Errors:
    errors: Errors = []
    if not rule.get("subjects"):
        errors.append(field.required(f"{path}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(rule.get("subjects") or ()):
        errors += _subject(subject, f"{path}.subjects[{i}]")
    resources, urls = rule.get("resourceRules") or [], rule.get("nonResourceRules") or []
    if not resources and not urls:
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        errors.append(field.required(path, detail))
    for i, found in enumerate(resources):
        errors += _resource_rule(found, f"{path}.resourceRules[{i}]")
    for i, found in enumerate(urls):
        errors += _url_rule(found, f"{path}.nonResourceRules[{i}]")
    return errors


def _subject(subject: Obj, path: str) -> Errors:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        return [field.not_supported(f"{path}.kind", kind, _SUBJECTS)]
    errors: Errors = []
    member = _SUBJECTS[kind]
    found, at = subject.get(member), f"{path}.{member}"
    if found is None:
        errors.append(field.required(at, f"{member} is required when subject kind is '{kind}'"))
    elif kind == "ServiceAccount":
        errors += _account(found, at)
    elif not found.get("name"):
        errors.append(field.required(f"{at}.name"))
    for other in ("ServiceAccount", "User", "Group"):
        if other != kind and subject.get(_SUBJECTS[other]) is not None:
            name = _SUBJECTS[other]
            detail = f"{name} is forbidden when subject kind is not '{other}'"
            errors.append(field.forbidden(f"{path}.{name}", detail))
    return errors


def _account(account: Obj, path: str) -> Errors:
    name, namespace = account.get("name") or "", account.get("namespace") or ""
    errors: Errors = []
    if not name:
        errors.append(field.required(f"{path}.name"))
    elif name != "*":
        errors += named(name, f"{path}.name", checks.subdomain)
    if namespace:
        errors += named(namespace, f"{path}.namespace", checks.label)
    else:
        errors.append(field.required(f"{path}.namespace", "must specify namespace for service account"))
    return errors


def _list(found: list[str], path: str, what: str, missing: str, *, alone: bool = True) -> Errors:
    """Check a list that must have a member, and no other beside ``*``."""
    if not found:
        return [field.required(path, missing)]
    if alone and len(found) > 1 and "*" in found:
        return [field.invalid(path, found, f"if '*' is present, must not specify other {what}")]
    return []


def _verbs(rule: Obj, path: str) -> Errors:
    verbs = rule.get("verbs") or []
    errors = _list(verbs, path, "verbs", "verbs must contain at least one value")
    if verbs and "*" not in verbs and not set(verbs) <= set(_VERBS):
        errors.append(field.not_supported(path, verbs, _VERBS))
    return errors


def _resource_rule(rule: Obj, path: str) -> Errors:
    errors = _verbs(rule, f"{path}.verbs")
    missing = "resource rules must supply at least one api group"
    errors += _list(rule.get("apiGroups") or [], f"{path}.apiGroups", "api groups", missing)
    missing = "resource rules must supply at least one resource"
    errors += _list(rule.get("resources") or [], f"{path}.resources", "resources", missing)
    namespaces, at = rule.get("namespaces") or [], f"{path}.namespaces"
    if not namespaces:
        if not rule.get("clusterScope"):
            detail = "resource rules that are not cluster scoped must supply at least one namespace"
            errors.append(field.required(at, detail))
    elif "*" in namespaces:
        errors += _list(namespaces, at, "namespaces", "")
    else:
        form = "each member of this list must be '*' or a DNS-1123 label; "
        for i, namespace in enumerate(namespaces):
            errors += [field.invalid(f"{at}[{i}]", namespace, form + m) for m in checks.label(namespace)]
    return errors


def _url_rule(rule: Obj, path: str) -> Errors:
    errors = _verbs(rule, f"{path}.verbs")
    urls, at = rule.get("nonResourceURLs") or [], f"{path}.nonResourceURLs"
    errors += _list(urls, at, "non-resource URLs", "nonResourceURLs must contain at least one value")
    if "*" not in urls:
        for i, url in enumerate(urls):
            wrong = _url_error(url)
            if wrong:
                errors.append(field.invalid(f"{at}[{i}]", url, wrong))
    return errors


def _url_error(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    return "wildcard can only do suffix matching" if stars > 1 or (stars and not url.endswith("/*")) else ""


def _level(obj: Obj) -> Errors:
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
    kind, exempt, limited = spec.get("type") or "", spec.get("exempt"), spec.get("limited")
    errors: Errors = []
    if (name == "exempt") != (kind == "Exempt"):
        errors.append(field.invalid("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
    if kind == "Exempt":
        if limited is not None:
            errors.append(field.forbidden("spec.limited", "must be nil if the type is not Limited"))
        if exempt is not None:
            errors += _shares(exempt, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            errors.append(field.forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            errors.append(field.required("spec.limited", "must not be empty when type is Limited"))
        else:
            errors += _limited(limited, "spec.limited")
    else:
        errors.append(field.not_supported("spec.type", kind, _LEVEL_TYPES))
    return errors + _fixed_level(spec, name) + _conditions(obj)


def _fixed_level(spec: Obj, name: str) -> Errors:
    fixed = _MANDATORY_LEVELS.get(name)
    if fixed is None:
        return []
    free = {"exempt": fixed["exempt"]} if "exempt" in fixed else {}
    if {**spec, **free} == fixed:
        return []
    except_for = " except the 'spec.exempt' field" if free else ""
    return [field.invalid("spec", {"Spec": spec}, f"spec of '{name}'{except_for} must equal the fixed value")]


def _shares(level: Obj, path: str) -> Errors:
    errors: Errors = []
    shares = level.get("nominalConcurrencyShares")
    if shares is not None and shares < 0:
        errors.append(field.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    return errors + _lendable(level, path)


def _lendable(level: Obj, path: str) -> Errors:
    percent = level.get("lendablePercent")
    if percent is None or 0 <= percent <= 100:
        return []
    return [field.invalid(f"{path}.lendablePercent", percent, "must be between 0 and 100, inclusive")]


def _limited(limited: Obj, path: str) -> Errors:
    errors: Errors = []
    shares, borrowing = limited.get("nominalConcurrencyShares"), limited.get("borrowingLimitPercent")
    if shares is not None and shares < 0:
        errors.append(field.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    errors += _response(limited.get("limitResponse") or {}, f"{path}.limitResponse")
    errors += _lendable(limited, path)
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        errors.append(field.invalid(f"{path}.borrowingLimitPercent", borrowing, detail))
    return errors


def _response(response: Obj, path: str) -> Errors:
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind not in _RESPONSE_TYPES:
        return [field.not_supported(f"{path}.type", kind, _RESPONSE_TYPES)]
    at = f"{path}.queuing"
    if kind == "Queue":
        if queuing is None:
            return [field.required(at, "must not be empty if limited.limitResponse.type is Limited")]
        return _queuing(queuing, at)
    if queuing is not None:
        return [field.forbidden(at, "must be nil if limited.limitResponse.type is not Limited")]
    return []


def _queuing(queuing: Obj, path: str) -> Errors:
    errors: Errors = []
    limit, queues, hand = (queuing.get(m) or 0 for m in ("queueLengthLimit", "queues", "handSize"))
    if limit <= 0:
        errors.append(field.invalid(f"{path}.queueLengthLimit", limit, "must be positive"))
    if queues <= 0:
        errors.append(field.invalid(f"{path}.queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        errors.append(field.invalid(f"{path}.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        errors.append(field.invalid(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        errors.append(field.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif ceil(log2(queues) * hand) > _MAX_HASH_BITS:
        detail = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than "
        errors.append(field.invalid(f"{path}.handSize", hand, f"{detail}{_MAX_HASH_BITS}"))
    return errors


def _conditions(obj: Obj) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        kind, path = condition.get("type") or "", f"status.conditions[{i}].type"
        if kind in seen:
            errors.append(field.duplicate(path, kind))
        seen.add(kind)
        if not kind:
            errors.append(field.required(path))
    return errors


def _update_status(obj: Obj, old: Obj) -> Errors:
    return _conditions(obj)


_API = "flowcontrol.apiserver.k8s.io"

RULES = {
    (_API, "flowschemas"): Rules(create=_schema, subresources={"status": _update_status}),
    (_API, "prioritylevelconfigurations"): Rules(create=_level, subresources={"status": _update_status}),
}
