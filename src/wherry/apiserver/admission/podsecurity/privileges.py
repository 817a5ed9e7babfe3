"""Checks of what a container may do: privileged mode, privilege escalation, capabilities, host processes."""

from wherry.apiserver.admission.podsecurity.checks import (
    BASELINE,
    RESTRICTED,
    Check,
    Object,
    Rule,
    Version,
    Violation,
    containers,
    is_windows,
    named,
    quoted,
    security,
    setters,
)

_DEFAULT_CAPABILITIES = frozenset(
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"}
    | {"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
)


def _privileged(meta: Object, spec: Object) -> Violation | None:
    bad = [container["name"] for container in containers(spec) if security(container).get("privileged")]
    return Violation("privileged", f"{named(bad)} must not set securityContext.privileged=true") if bad else None


def _escalation(meta: Object, spec: Object) -> Violation | None:
    bad = [c["name"] for c in containers(spec) if security(c).get("allowPrivilegeEscalation") is not False]
    if not bad:
        return None
    detail = f"{named(bad)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


def _baseline(meta: Object, spec: Object) -> Violation | None:
    bad, added = _adding(spec, _DEFAULT_CAPABILITIES)
    return Violation("non-default capabilities", _must_not_add(bad, added)) if bad else None


def _restricted(meta: Object, spec: Object) -> Violation | None:
    keeping = [c["name"] for c in containers(spec) if "ALL" not in (_capabilities(c).get("drop") or ())]
    bad, added = _adding(spec, frozenset({"NET_BIND_SERVICE"}))
    details = []
    if keeping:
        details.append(f'{named(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if bad:
        details.append(_must_not_add(bad, added))
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def _capabilities(container: Object) -> Object:
    return security(container).get("capabilities") or {}


def _adding(spec: Object, allowed: frozenset[str]) -> tuple[list[str], set[str]]:
    bad: list[str] = []
    added: set[str] = set()
    for container in containers(spec):
        more = set(_capabilities(container).get("add") or ()) - allowed
        if more:
            bad.append(container["name"])
            added |= more
    return bad, added


def _must_not_add(bad: list[str], added: set[str]) -> str:
    return f"{named(bad)} must not include {quoted(sorted(added))} in securityContext.capabilities.add"


def _host_process(meta: Object, spec: Object) -> Violation | None:
    def hosted(holder: Object) -> bool:
        return bool((security(holder).get("windowsOptions") or {}).get("hostProcess"))

    bad = [container["name"] for container in containers(spec) if hosted(container)]
    who = setters(hosted(spec), bad)
    return (
        Violation("hostProcess", f"{who} must not set securityContext.windowsOptions.hostProcess=true") if who else None
    )


def not_on_windows(rule: Rule) -> Rule:
    """Return the rule as it is since 1.25, when pods for Windows were exempted from what only Linux knows."""

    def exempting(meta: Object, spec: Object) -> Violation | None:
        return None if is_windows(spec) else rule(meta, spec)

    return exempting


_OVER_BASELINE = ("capabilities_baseline",)

CHECKS = (
    Check("privileged", BASELINE, (Version(0, _privileged),)),
    Check("windowsHostProcess", BASELINE, (Version(0, _host_process),)),
    Check("capabilities_baseline", BASELINE, (Version(0, _baseline),)),
    Check(
        "capabilities_restricted",
        RESTRICTED,
        (Version(22, _restricted, _OVER_BASELINE), Version(25, not_on_windows(_restricted), _OVER_BASELINE)),
    ),
    Check("allowPrivilegeEscalation", RESTRICTED, (Version(8, _escalation), Version(25, not_on_windows(_escalation)))),
)
