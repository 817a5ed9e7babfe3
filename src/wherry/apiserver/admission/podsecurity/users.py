"""Checks of the users that containers run as."""

from wherry.apiserver.admission.podsecurity.checks import (
    RESTRICTED,
    Check,
    Object,
    Rule,
    Version,
    Violation,
    containers,
    has_own_users,
    named,
    security,
    setters,
)


def _non_root(meta: Object, spec: Object) -> Violation | None:
    of_pod = security(spec).get("runAsNonRoot")
    said = {container["name"]: security(container).get("runAsNonRoot") for container in containers(spec)}
    explicit = setters(of_pod is False, [name for name, value in said.items() if value is False])
    if explicit:
        return Violation("runAsNonRoot != true", f"{explicit} must not set securityContext.runAsNonRoot=false")
    silent = [name for name, value in said.items() if value is None]
    if of_pod or not silent:
        return None
    return Violation("runAsNonRoot != true", f"pod or {named(silent)} must set securityContext.runAsNonRoot=true")


def _root_user(meta: Object, spec: Object) -> Violation | None:
    bad = [container["name"] for container in containers(spec) if security(container).get("runAsUser") == 0]
    who = setters(security(spec).get("runAsUser") == 0, bad)
    return Violation("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def _unless_mapped(rule: Rule) -> Rule:
    """Return the rule as it is since 1.35: root in a user namespace is nobody on the host."""

    def relaxed(meta: Object, spec: Object) -> Violation | None:
        return None if has_own_users(spec) else rule(meta, spec)

    return relaxed


CHECKS = (
    Check("runAsNonRoot", RESTRICTED, (Version(0, _non_root), Version(35, _unless_mapped(_non_root)))),
    Check("runAsUser", RESTRICTED, (Version(23, _root_user), Version(35, _unless_mapped(_root_user)))),
)
