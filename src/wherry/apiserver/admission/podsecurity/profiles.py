"""Checks of the kernel's confinement: AppArmor, SELinux, seccomp, the masks of /proc, sysctls."""

from collections.abc import Callable, Iterable

from wherry.apiserver.admission.podsecurity.checks import (
    BASELINE,
    RESTRICTED,
    Check,
    Object,
    Rule,
    Version,
    Violation,
    containers,
    has_own_users,
    named,
    plural,
    quoted,
    security,
    setters,
)
from wherry.apiserver.admission.podsecurity.privileges import not_on_windows

_APPARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_PREFIX = "container.seccomp.security.alpha.kubernetes.io/"
_PROFILES = frozenset({"RuntimeDefault", "Localhost"})
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    }
)
_SYSCTLS_27 = _SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_29 = _SYSCTLS_27 | {
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SYSCTLS_32 = _SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}


def _bad_types(spec: Object, member: str) -> tuple[bool, list[str], set[str]]:
    """Return whether the pod and which containers set a profile that is not allowed, and the types."""
    types: set[str] = set()

    def bad(holder: Object) -> bool:
        profile = security(holder).get(member)
        if profile is None or profile.get("type", "") in _PROFILES:
            return False
        types.add(profile.get("type", ""))
        return True

    pod = bad(spec)
    return pod, [container["name"] for container in containers(spec) if bad(container)], types


def _apparmor(meta: Object, spec: Object) -> Violation | None:
    pod, bad, types = _bad_types(spec, "appArmorProfile")
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in (meta.get("annotations") or {}).items()
        if key.startswith(_APPARMOR_PREFIX) and not (value in ("", "runtime/default") or value.startswith("localhost/"))
    )
    who = [setters(pod, bad)] if pod or bad else []
    if annotations:
        who.append(plural(len(annotations), "annotation"))
    if not who:
        return None
    values = sorted(types) + annotations
    reason = plural(len(values), "forbidden AppArmor profile")
    return Violation(reason, f"{' and '.join(who)} must not set AppArmor profile type to {quoted(values)}")


def _selinux(types: frozenset[str]) -> Rule:
    def rule(meta: Object, spec: Object) -> Violation | None:
        used: set[str] = set()
        others: set[str] = set()

        def bad(holder: Object) -> bool:
            options = security(holder).get("seLinuxOptions") or {}
            wrong = {options.get("type", "")} - types
            more = {member for member in ("user", "role") if options.get(member)}
            used.update(wrong)
            others.update(more)
            return bool(wrong or more)

        pod = bad(spec)
        who = setters(pod, [container["name"] for container in containers(spec) if bad(container)])
        if not who:
            return None
        data = [f"{plural(len(used), 'type')} {quoted(sorted(used))}"] if used else []
        data += [f"{member} may not be set" for member in ("user", "role") if member in others]
        return Violation("seLinuxOptions", f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}")

    return rule


def _seccomp_annotations(meta: Object, spec: Object) -> Violation | None:
    annotations = meta.get("annotations") or {}
    keys = [_SECCOMP_POD, *(_SECCOMP_PREFIX + container["name"] for container in containers(spec))]
    bad = {
        f'{key}="{annotations[key]}"'
        for key in keys
        if key in annotations
        and annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    }
    if not bad:
        return None
    return Violation("seccompProfile", f"forbidden {plural(len(bad), 'annotation')} {', '.join(sorted(bad))}")


def _seccomp_baseline(meta: Object, spec: Object) -> Violation | None:
    pod, bad, types = _bad_types(spec, "seccompProfile")
    if not pod and not bad:
        return None
    detail = f"{setters(pod, bad)} must not set securityContext.seccompProfile.type to {quoted(sorted(types))}"
    return Violation("seccompProfile", detail)


def _seccomp_restricted(meta: Object, spec: Object) -> Violation | None:
    found = _seccomp_baseline(meta, spec)
    if found is not None or security(spec).get("seccompProfile") is not None:
        return found
    bad = [container["name"] for container in containers(spec) if security(container).get("seccompProfile") is None]
    if not bad:
        return None
    detail = f'pod or {named(bad)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", detail)


def _proc_mount(meta: Object, spec: Object) -> Violation | None:
    masks = {c["name"]: security(c).get("procMount") for c in containers(spec)}
    bad = {name: mask for name, mask in masks.items() if mask not in (None, "Default")}
    if not bad:
        return None
    detail = f"{named(list(bad))} must not set securityContext.procMount to {quoted(sorted(set(bad.values())))}"
    return Violation("procMount", detail)


def _proc_mount_of_host_users(meta: Object, spec: Object) -> Violation | None:
    return None if has_own_users(spec) else _proc_mount(meta, spec)


def _sysctls(allowed: Iterable[str]) -> Callable[[Object, Object], Violation | None]:
    def rule(meta: Object, spec: Object) -> Violation | None:
        names = [sysctl.get("name", "") for sysctl in security(spec).get("sysctls") or ()]
        bad = [name for name in names if name not in allowed]
        return Violation("forbidden sysctls", ", ".join(bad)) if bad else None

    return rule


_OVER_BASELINE = ("seccompProfile_baseline",)

CHECKS = (
    Check("appArmorProfile", BASELINE, (Version(0, _apparmor),)),
    Check(
        "seLinuxOptions",
        BASELINE,
        (Version(0, _selinux(_SELINUX_TYPES)), Version(31, _selinux(_SELINUX_TYPES | {"container_engine_t"}))),
    ),
    Check("seccompProfile_baseline", BASELINE, (Version(0, _seccomp_annotations), Version(19, _seccomp_baseline))),
    Check(
        "seccompProfile_restricted",
        RESTRICTED,
        (
            Version(19, _seccomp_restricted, _OVER_BASELINE),
            Version(25, not_on_windows(_seccomp_restricted), _OVER_BASELINE),
        ),
    ),
    Check("procMount_baseline", BASELINE, (Version(0, _proc_mount), Version(35, _proc_mount_of_host_users))),
    Check("procMount_restricted", RESTRICTED, (Version(35, _proc_mount, ("procMount_baseline",)),)),
    Check(
        "sysctls",
        BASELINE,
        (
            Version(0, _sysctls(_SYSCTLS)),
            Version(27, _sysctls(_SYSCTLS_27)),
            Version(29, _sysctls(_SYSCTLS_29)),
            Version(32, _sysctls(_SYSCTLS_32)),
        ),
    ),
)
