"""Security contexts of pods and containers."""

import re
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.shared import local_descending_path

Obj = dict[str, Any]
Errors = list[FieldError]

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL_FORMAT = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = re.compile(_SYSCTL_FORMAT + r"\Z")


def security_context(context: Obj, path: str, host_users: bool) -> Errors:
    """Check the security context of a container."""
    errors = _ids(context, path, ("runAsUser", "runAsGroup"))
    errors += _profiles(context, path)
    proc = context.get("procMount")
    if proc is not None:
        at = f"{path}.procMount"
        if proc not in ("Default", "Unmasked"):
            errors.append(field.not_supported(at, proc, ("Default", "Unmasked")))
        if host_users and proc == "Unmasked":
            errors.append(field.invalid(at, proc, "`hostUsers` must be false to use `Unmasked`"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(field.invalid(path, context, detail))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(field.invalid(path, context, detail))
    return errors + _windows_options(context.get("windowsOptions"), f"{path}.windowsOptions")


def pod_security_context(spec: Obj, path: str) -> Errors:
    """Check the security context of a pod; `path` is the spec's."""
    context = spec.get("securityContext")
    if not context:
        return []
    at = f"{path}.securityContext"
    errors = _ids(context, at, ("fsGroup", "runAsUser", "runAsGroup"))
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        errors += [field.invalid(f"{at}.supplementalGroups[{i}]", group, m) for m in checks.user_id(group)]
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(field.invalid(f"{at}.shareProcessNamespace", True, detail))
    errors += _sysctls(context.get("sysctls") or [], f"{at}.sysctls", spec)
    for member, known in _CHOICES.items():
        value = context.get(member)
        if value is not None and value not in known:
            errors.append(field.not_supported(f"{at}.{member}", value, known))
    errors += _profiles(context, at)
    return errors + _windows_options(context.get("windowsOptions"), f"{at}.windowsOptions")


_CHOICES = {
    "fsGroupChangePolicy": ("Always", "OnRootMismatch"),
    "supplementalGroupsPolicy": ("Merge", "Strict"),
    "seLinuxChangePolicy": ("MountOption", "Recursive"),
}


def _ids(context: Obj, path: str, members: tuple[str, ...]) -> Errors:
    errors: Errors = []
    for member in members:
        value = context.get(member)
        if value is not None:
            errors += [field.invalid(f"{path}.{member}", value, m) for m in checks.user_id(value)]
    return errors


def _profiles(context: Obj, path: str) -> Errors:
    errors: Errors = []
    if context.get("seccompProfile") is not None:
        errors += _seccomp(context["seccompProfile"], f"{path}.seccompProfile")
    if context.get("appArmorProfile") is not None:
        errors += _apparmor(context["appArmorProfile"], f"{path}.appArmorProfile")
    return errors


def _profile_type(profile: Obj, path: str, member: str) -> Errors:
    kind = profile.get("type", "")
    if kind in _PROFILES:
        return []
    if not kind:
        return [field.required(f"{path}.type", f"type is required when {member} is set")]
    return [field.not_supported(f"{path}.type", kind, _PROFILES)]


def _seccomp(profile: Obj, path: str) -> Errors:
    errors = _profile_type(profile, path, "seccompProfile")
    local = profile.get("localhostProfile")
    if profile.get("type") == "Localhost":
        if local is None:
            detail = "must be set when seccomp type is Localhost"
            errors.append(field.required(f"{path}.localhostProfile", detail))
        else:
            errors += local_descending_path(local, f"{path}.localhostProfile")
    elif local is not None:
        detail = "can only be set when seccomp type is Localhost"
        errors.append(field.invalid(f"{path}.localhostProfile", profile, detail))
    return errors


def _apparmor(profile: Obj, path: str) -> Errors:
    local = profile.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if profile.get("type") != "Localhost":
        errors = _profile_type(profile, path, "appArmorProfile")
        if not errors and local is not None:
            errors.append(field.invalid(at, local, "can only be set when AppArmor type is Localhost"))
        return errors
    if local is None:
        return [field.required(at, "must be set when AppArmor type is Localhost")]
    if local != local.strip():
        return [field.invalid(at, local, "must not be padded with whitespace")]
    if not local:
        return [field.required(at, "must be set when AppArmor type is Localhost")]
    return [field.too_long(at, 4095)] if len(local) > 4095 else []


def _sysctls(found: list[Obj], path: str, spec: Obj) -> Errors:
    errors: Errors = []
    names: set[str] = set()
    for i, sysctl in enumerate(found):
        name = sysctl.get("name", "")
        at = f"{path}[{i}].name"
        if not name:
            errors.append(field.required(at))
        elif len(name) > 253 or not _SYSCTL.match(name):
            detail = f"must have at most 253 characters and match regex {_SYSCTL_FORMAT}"
            errors.append(field.invalid(at, name, detail))
        elif name in names:
            errors.append(field.duplicate(at, name))
        names.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            errors.append(field.invalid(at, name, "may not be specified when 'hostNetwork' is set to true"))
        if spec.get("hostIPC") and dotted.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            errors.append(field.invalid(at, name, "may not be specified when 'hostIPC' is set to true"))
    return errors


def _windows_options(options: Obj | None, path: str) -> Errors:
    errors: Errors = []
    if not options:
        return errors
    for member in ("gmsaCredentialSpecName", "gmsaCredentialSpec", "runAsUserName"):
        value = options.get(member)
        if value == "":
            named = {"runAsUserName": "runAsUserName"}.get(member, member)
            errors.append(field.invalid(f"{path}.{member}", value, f"{named} cannot be an empty string"))
        elif value and member == "gmsaCredentialSpecName":
            errors += [field.invalid(f"{path}.{member}", value, m) for m in checks.subdomain(value)]
    spec = options.get("gmsaCredentialSpec") or ""
    if len(spec) > 64 * 1024:
        errors.append(field.invalid(f"{path}.gmsaCredentialSpec", spec, "gmsaCredentialSpec size must be under 64 KiB"))
    return errors
