"""What a pod says about its operating system, and the annotations that came before its security profiles."""

from collections.abc import Iterator
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]

APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"


def _security_contexts(spec: Obj, path: str) -> Iterator[tuple[Obj, Obj, str]]:
    """Yield the containers of all kinds, in upstream's order, with their security context and its path."""
    for members in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(spec.get(members) or ()):
            yield container, container.get("securityContext") or {}, f"{path}.{members}[{i}].securityContext"


def host_processes(spec: Obj, path: str) -> Errors:
    """Check Windows' HostProcess containers: all containers are, or none is."""
    whole = ((spec.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    errors: Errors = []
    count = hosted = 0
    for _, context, at in _security_contexts(spec, path):
        own = (context.get("windowsOptions") or {}).get("hostProcess")
        if whole is not None and own is not None and whole != own:
            shown = "true" if whole else "false"
            detail = f"pod hostProcess value must be identical if both are specified, was {shown}"
            errors.append(field.invalid(f"{at}.windowsOptions.hostProcess", own, detail))
        count += 1
        hosted += bool(whole if own is None else own)
    if not hosted:
        return errors
    if hosted != count:
        detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        errors.append(field.invalid(path, "", detail))
    if not spec.get("hostNetwork"):
        detail = "hostNetwork must be true if pod contains any hostProcess containers"
        errors.append(field.invalid(f"{path}.hostNetwork", False, detail))
    return errors


def only_of_windows(spec: Obj, path: str) -> Errors:
    """Refuse what a pod for Linux cannot have."""
    found = [(spec.get("securityContext") or {}, f"{path}.securityContext")]
    found += [(context, at) for _, context, at in _security_contexts(spec, path)]
    return [
        field.forbidden(f"{at}.windowsOptions", "windows options cannot be set for a linux pod")
        for context, at in found
        if context.get("windowsOptions") is not None
    ]


# In upstream's order; those of the spec have no "securityContext" in their path.
_OF_POD = (
    "securityContext.appArmorProfile", "securityContext.seLinuxOptions", "hostUsers", "hostPID", "hostIPC",
    "securityContext.seccompProfile", "securityContext.fsGroup", "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls", "shareProcessNamespace", "securityContext.runAsUser", "securityContext.runAsGroup",
    "securityContext.supplementalGroups", "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)  # fmt: skip
_OF_CONTAINER = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def only_of_linux(spec: Obj, path: str) -> Errors:
    """Refuse what a pod for Windows cannot have."""
    detail = "cannot be set for a windows pod"
    errors: Errors = []
    for place in _OF_POD:
        inner, _, member = place.rpartition(".")
        value = (spec if not inner else spec.get(inner) or {}).get(member)
        unset = value is None or (member in ("hostPID", "hostIPC", "sysctls") and not value)
        if not unset:
            errors.append(field.forbidden(f"{path}.{place}", detail))
    for _, context, at in _security_contexts(spec, path):
        errors += [field.forbidden(f"{at}.{m}", detail) for m in _OF_CONTAINER if context.get(m) is not None]
    return errors


def profile_annotations(found: dict[str, str], spec: Obj, path: str) -> Errors:
    """Check that annotations of seccomp and AppArmor, where they are, say what the fields say."""
    whole = spec.get("securityContext") or {}
    at = f"{path}.securityContext.seccompProfile"
    errors = _unlike(found.get(SECCOMP_POD), whole.get("seccompProfile"), at, "seccomp")
    for container, context, at in _security_contexts(spec, path):
        annotation = found.get(SECCOMP + container.get("name", ""))
        errors += _unlike(annotation, context.get("seccompProfile"), f"{at}.seccompProfile", "seccomp")
    if (spec.get("os") or {}).get("name") == "windows":
        return errors
    for container, context, at in _security_contexts(spec, path):
        annotation = found.get(APPARMOR + container.get("name", ""))
        profile = context.get("appArmorProfile") or whole.get("appArmorProfile")
        errors += _unlike(annotation, profile, f"{at}.appArmorProfile", "apparmor")
    return errors


_WRITTEN = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default", "docker/default")}


def _unlike(annotation: str | None, profile: Obj | None, path: str, what: str) -> Errors:
    if annotation is None or profile is None:
        return []
    kind = profile.get("type", "")
    if kind != "Localhost":
        known = _WRITTEN.get(kind, (annotation,))
        same = annotation in (known if what == "seccomp" else known[:1])
    else:
        same = annotation.startswith("localhost/")
        if same and annotation.removeprefix("localhost/") != profile.get("localhostProfile"):
            detail = f"{what} profile in annotation and field must match"
            return [field.forbidden(f"{path}.localhostProfile", detail)]
    return [] if same else [field.forbidden(f"{path}.type", f"{what} type in annotation and field must match")]
