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
    proc = context.get("procMount")
    if proc is not None:
        at = f"{path}.procMount"
        if proc not in ("Default", "Unmasked"):
            errors.append(field.not_supported(at, proc, ("Default", "Unmasked")))
        if host_users and proc == "Unmasked":
            errors.append(field.invalid(at, proc, "`hostUsers` must be false to use `Unmasked`"))
    errors += _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(field.invalid(path, context, detail))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(field.invalid(path, context, detail))
    errors += _windows_options(context.get("windowsOptions"), f"{path}.windowsOptions")
    return errors + _apparmor(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def pod_security_context(spec: Obj, path: str) -> Errors:
    """Check the security context of a pod; `path` is the spec's."""
    context = spec.get("securityContext") or {}
    at = f"{path}.securityContext"
    errors = _ids(context, at, ("fsGroup", "runAsUser", "runAsGroup"))
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        errors += [field.invalid(f"{at}.supplementalGroups[{i}]", group, m) for m in checks.user_id(group)]
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(field.invalid(f"{at}.shareProcessNamespace", True, detail))
    if not context:
        return errors
    errors += _sysctls(context.get("sysctls") or [], f"{at}.sysctls", spec)
    errors += _choice(context, at, "fsGroupChangePolicy")
    errors += _seccomp(context.get("seccompProfile"), f"{at}.seccompProfile")
    errors += _windows_options(context.get("windowsOptions"), f"{at}.windowsOptions")
    errors += _apparmor(context.get("appArmorProfile"), f"{at}.appArmorProfile")
    return errors + _choice(context, at, "supplementalGroupsPolicy") + _choice(context, at, "seLinuxChangePolicy")


_CHOICES = {
    "fsGroupChangePolicy": ("Always", "OnRootMismatch"),
    "supplementalGroupsPolicy": ("Merge", "Strict"),
    "seLinuxChangePolicy": ("Recursive",),  # MountOption is behind the gate SELinuxMount, which is off
}


def _ids(context: Obj, path: str, members: tuple[str, ...]) -> Errors:
    errors: Errors = []
    for member in members:
        value = context.get(member)
        if value is not None:
            errors += [field.invalid(f"{path}.{member}", value, m) for m in checks.user_id(value)]
    return errors


def _choice(context: Obj, path: str, member: str) -> Errors:
    value, known = context.get(member), _CHOICES[member]
    if value is None or value in known:
        return []
    return [field.not_supported(f"{path}.{member}", value, known)]


def _profile_type(profile: Obj, path: str, member: str) -> Errors:
    kind = profile.get("type", "")
    if kind in _PROFILES:
        return []
    if not kind:
        return [field.required(f"{path}.type", f"type is required when {member} is set")]
    return [field.not_supported(f"{path}.type", kind, _PROFILES)]


def _seccomp(profile: Obj | None, path: str) -> Errors:
    if profile is None:
        return []
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


def _apparmor(profile: Obj | None, path: str) -> Errors:
    if profile is None:
        return []
    local = profile.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if profile.get("type") != "Localhost":
        errors = _profile_type(profile, path, "appArmorProfile")
        if not errors and local is not None:
            errors.append(field.invalid(at, local, "can only be set when AppArmor type is Localhost"))
        return errors
    errors = []
    if local is not None and local != local.strip():
        errors.append(field.invalid(at, local, "must not be padded with whitespace"))
    elif not local:
        errors.append(field.required(at, "must be set when AppArmor type is Localhost"))
    return [*errors, field.too_long(at, 4095)] if len((local or "").encode()) > 4095 else errors


def _sysctls(found: list[Obj], path: str, spec: Obj) -> Errors:
    errors: Errors = []
    names: set[str] = set()
    for i, sysctl in enumerate(found):
        name = sysctl.get("name", "")
        at = f"{path}[{i}].name"
        if not name:
            errors.append(field.required(at))
        elif len(name) > 253 or not _SYSCTL.match(name):
            detail = f"must have at most 253 characters and match regex ^{_SYSCTL_FORMAT}$"
            errors.append(field.invalid(at, name, detail))
        elif name in names:
            errors.append(field.duplicate(at, name))
        names.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            errors.append(field.invalid(at, name, "may not be specified when 'hostNetwork' is true"))
        if spec.get("hostIPC") and dotted.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            errors.append(field.invalid(at, name, "may not be specified when 'hostIPC' is true"))
    return errors


def _windows_options(options: Obj | None, path: str) -> Errors:
    errors: Errors = []
    if not options:
        return errors
    name, spec, user = (options.get(m) for m in ("gmsaCredentialSpecName", "gmsaCredentialSpec", "runAsUserName"))
    if name is not None:
        errors += [field.invalid(f"{path}.gmsaCredentialSpecName", name, m) for m in checks.subdomain(name)]
    if spec == "":
        detail = "gmsaCredentialSpec cannot be an empty string"
        errors.append(field.invalid(f"{path}.gmsaCredentialSpec", spec, detail))
    elif spec is not None and len(spec.encode()) > 64 * 1024:
        errors.append(field.invalid(f"{path}.gmsaCredentialSpec", spec, "gmsaCredentialSpec size must be under 64 KiB"))
    if user is not None:
        errors += [field.invalid(f"{path}.runAsUserName", user, f"runAsUserName{m}") for m in _windows_user(user)]
    return errors


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NETBIOS = re.compile(r"[^\\/:*?\"<>|.][^\\/:*?\"<>|]{0,14}\Z")
_DNS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_WINDOWS_DOMAIN = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*\Z")
_NOT_IN_USER = re.compile(r"[\"/\\:;|=,+*?<>@\[\]]")


def _windows_user(name: str) -> list[str]:
    """Return what is wrong with ``DOMAIN\\user``, to be read after the member's name."""
    if not name:
        return [" cannot be an empty string"]
    if _CONTROL.search(name):
        return [" cannot contain control characters"]
    if name.count("\\") > 1:
        return [" cannot contain more than one backslash"]
    domain, backslash, user = name.rpartition("\\")
    wrong: list[str] = []
    if len(domain.encode()) >= 256:
        wrong.append("'s Domain length must be under 256 characters")
    if backslash and not (_NETBIOS.match(domain) or _WINDOWS_DOMAIN.match(domain)):
        wrong.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        wrong.append("'s User cannot be empty")
    elif len(user.encode()) > 104:
        wrong.append("'s User length must not be longer than 104 characters")
    if user and not user.strip(". "):
        wrong.append("'s User cannot contain only periods or spaces")
    if _NOT_IN_USER.search(user):
        wrong.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return wrong
