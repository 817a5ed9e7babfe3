"""Defaults of ``admissionregistration.k8s.io``."""

from typing import Any

Obj = dict[str, Any]


def _set(obj: Obj, **values: Any) -> None:
    for member, value in values.items():
        if obj.get(member) is None:
            obj[member] = value


def _rules(rules: Any) -> None:
    for rule in rules or ():
        _set(rule, scope="*")


def _webhook(hook: Obj) -> None:
    service = (hook.get("clientConfig") or {}).get("service")
    if service is not None:
        _set(service, port=443)
    _rules(hook.get("rules"))
    _set(
        hook, failurePolicy="Fail", matchPolicy="Equivalent", namespaceSelector={}, objectSelector={}, timeoutSeconds=10
    )


def default_validating_webhooks(obj: Obj) -> None:
    """Fill in each webhook."""
    for hook in obj.get("webhooks") or ():
        _webhook(hook)


def default_mutating_webhooks(obj: Obj) -> None:
    """Fill in each webhook; it is called once unless it asks for more."""
    for hook in obj.get("webhooks") or ():
        _webhook(hook)
        _set(hook, reinvocationPolicy="Never")


def _match(resources: Obj | None) -> None:
    if resources is not None:
        _set(resources, matchPolicy="Equivalent", namespaceSelector={}, objectSelector={})
        _rules(resources.get("resourceRules"))
        _rules(resources.get("excludeResourceRules"))


def default_policy(obj: Obj) -> None:
    """A policy that cannot be evaluated refuses."""
    spec = obj.setdefault("spec", {})
    _set(spec, failurePolicy="Fail")
    _match(spec.get("matchConstraints"))


def default_policy_binding(obj: Obj) -> None:
    """Fill in what a binding matches."""
    _match((obj.get("spec") or {}).get("matchResources"))


_GROUP = "admissionregistration.k8s.io"

DEFAULTS = {
    (_GROUP, "validatingwebhookconfigurations"): default_validating_webhooks,
    (_GROUP, "mutatingwebhookconfigurations"): default_mutating_webhooks,
    (_GROUP, "validatingadmissionpolicies"): default_policy,
    (_GROUP, "mutatingadmissionpolicies"): default_policy,
    (_GROUP, "validatingadmissionpolicybindings"): default_policy_binding,
    (_GROUP, "mutatingadmissionpolicybindings"): default_policy_binding,
}
