"""The access reviews of authorization.k8s.io: may somebody do something?"""

from collections.abc import Mapping
from typing import Any

from wherry.api import meta
from wherry.api.errors import BadRequest, Invalid
from wherry.api.field import FieldError, forbidden, invalid, required
from wherry.api.validation import checks
from wherry.apiserver.attributes import Attributes, Authorizer, UserInfo
from wherry.apiserver.authz.union import UnionAuthorizer

GROUP = "authorization.k8s.io"

Object = dict[str, Any]


def review_subject(authorizer: Authorizer, obj: Object) -> Object:
    """Answer a SubjectAccessReview. Raises Invalid."""
    spec = obj.get("spec") or {}
    errors = [*_check_spec(spec), *_check_subject(spec), *_check_metadata(obj)]
    return _answer(authorizer, obj, spec, _subject(spec), errors)


def review_local_subject(authorizer: Authorizer, namespace: str, obj: Object) -> Object:
    """Answer a LocalSubjectAccessReview. Raises Invalid."""
    spec = obj.get("spec") or {}
    errors = [*_check_spec(spec), *_check_subject(spec), *_check_metadata(obj, local=True)]
    resource = spec.get("resourceAttributes")
    if resource is not None and resource.get("namespace", "") != namespace:
        path = "spec.resourceAttributes.namespace"
        errors.append(invalid(path, resource.get("namespace", ""), "must match metadata.namespace"))
    if spec.get("nonResourceAttributes") is not None:
        path = "spec.nonResourceAttributes"
        errors.append(invalid(path, spec["nonResourceAttributes"], "disallowed on this kind of request"))
    return _answer(authorizer, obj, spec, _subject(spec), errors)


def review_self(authorizer: Authorizer, user: UserInfo, obj: Object) -> Object:
    """Answer a SelfSubjectAccessReview of `user`. Raises Invalid."""
    spec = obj.get("spec") or {}
    return _answer(authorizer, obj, spec, user, [*_check_spec(spec), *_check_metadata(obj)])


def review_own_rules(authorizer: UnionAuthorizer, user: UserInfo, obj: Object) -> Object:
    """Answer a SelfSubjectRulesReview of `user`. Raises BadRequest without a namespace."""
    namespace = (obj.get("spec") or {}).get("namespace")
    if not namespace:
        raise BadRequest("no namespace on request")
    found = authorizer.rules_for(user, namespace)
    status: Object = {
        "resourceRules": found.resource,
        "nonResourceRules": found.non_resource,
        "incomplete": found.incomplete,
    }
    if found.errors:
        status["evaluationError"] = ", ".join(found.errors)
    return {**meta.copy(obj), "metadata": {}, "spec": {}, "status": status}


def _answer(
    authorizer: Authorizer, obj: Object, spec: Mapping[str, Any], user: UserInfo, errors: list[FieldError]
) -> Object:
    if errors:
        raise Invalid.of("", "", errors, GROUP)
    decision = authorizer.authorize(_attributes(user, spec))
    status: Object = {"allowed": decision.allowed}
    if decision.denied:
        status["denied"] = True
    if decision.reason:
        status["reason"] = decision.reason
    return {**meta.copy(obj), "status": status}


def _subject(spec: Mapping[str, Any]) -> UserInfo:
    return UserInfo(
        spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", spec.get("extra") or {}
    )


def _attributes(user: UserInfo, spec: Mapping[str, Any]) -> Attributes:
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec.get("nonResourceAttributes") or {}
        return Attributes(user, path.get("verb") or "", path=path.get("path") or "")
    return Attributes(
        user,
        asked.get("verb") or "",
        group=asked.get("group") or "",
        version=asked.get("version") or "",
        resource=asked.get("resource") or "",
        subresource=asked.get("subresource") or "",
        namespace=asked.get("namespace") or "",
        name=asked.get("name") or "",
        field_selector=_selector(asked.get("fieldSelector")),
        label_selector=_selector(asked.get("labelSelector")),
    )


def _selector(given: Mapping[str, Any] | None) -> str:
    """Return the selector as text. Requirements that text cannot say are left out: the answer is then no wider."""
    if not given:
        return ""
    if given.get("rawSelector"):
        return str(given["rawSelector"])
    terms = []
    for requirement in given.get("requirements") or ():
        values = requirement.get("values") or []
        if requirement.get("operator") == "In" and len(values) == 1:
            terms.append(f"{requirement.get('key', '')}={values[0]}")
    return ",".join(terms)


def _check_spec(spec: Mapping[str, Any]) -> list[FieldError]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [invalid("spec.resourceAttributes", None, why)]
    errors = []
    if resource is not None and path is not None:
        errors.append(
            invalid("spec.nonResourceAttributes", path, "cannot be specified in combination with resourceAttributes")
        )
    for kind in ("fieldSelector", "labelSelector"):
        errors += _check_selector((resource or {}).get(kind), f"spec.resourceAttributes.{kind}")
    return errors


def _check_selector(selector: Mapping[str, Any] | None, path: str) -> list[FieldError]:
    if selector is None:
        return []
    raw, requirements = selector.get("rawSelector") or "", selector.get("requirements") or []
    errors = []
    if raw and requirements:
        errors.append(invalid(f"{path}.rawSelector", raw, "may not specified at the same time as requirements"))
    if not raw and not requirements:
        why = f"when {path} is specified, requirements or rawSelector is required"
        errors.append(required(f"{path}.requirements", why))
    for index, requirement in enumerate(requirements):
        errors += _check_requirement(
            requirement, f"{path}.requirements[{index}]", labels=path.endswith("labelSelector")
        )
    return errors


def _check_requirement(requirement: Mapping[str, Any], path: str, *, labels: bool) -> list[FieldError]:
    """An operator that is not known is let through: newer clients may know more of them."""
    errors = []
    key, operator, values = requirement.get("key") or "", requirement.get("operator"), requirement.get("values") or []
    if not labels and not key:
        errors.append(required(f"{path}.key", "must be specified"))
    if operator in ("In", "NotIn") and not values:
        errors.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    if operator in ("Exists", "DoesNotExist") and values:
        why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        errors.append(forbidden(f"{path}.values", why))
    if labels:
        errors += [invalid(f"{path}.key", key, message) for message in checks.qualified_name(key)]
        for index, value in enumerate(values):
            errors += [invalid(f"{path}.values[{index}]", value, message) for message in checks.label_value(value)]
    return errors


def _check_subject(spec: Mapping[str, Any]) -> list[FieldError]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [invalid("spec.user", "", "at least one of user or group must be specified")]


def _check_metadata(obj: Object, *, local: bool = False) -> list[FieldError]:
    loose = {"managedFields"} | ({"namespace"} if local else set())
    given = {k: v for k, v in (obj.get("metadata") or {}).items() if k not in loose and v}
    if not given:
        return []
    return [invalid("metadata", given, "must be empty except for namespace" if local else "must be empty")]
