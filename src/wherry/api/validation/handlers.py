"""Probes and lifecycle handlers of containers."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.shared import non_negative, port_or_name

Obj = dict[str, Any]
Errors = list[FieldError]

_SCHEMES = ("HTTP", "HTTPS")
_LINUX_SIGNALS = frozenset(
    [
        f"SIG{name}"
        for name in (
            "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
            "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
            "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
        )
    ]
    + ["SIGRTMIN", "SIGRTMAX"]
    + [f"SIGRTMIN+{i}" for i in range(1, 16)]
    + [f"SIGRTMAX-{i}" for i in range(1, 15)]
)  # fmt: skip


def probe(found: Obj, path: str, grace: int) -> Errors:
    """Check a probe; `grace` is the pod's termination grace period."""
    errors = handler(found, path, grace)
    for member in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        errors += non_negative(found.get(member), f"{path}.{member}")
    own = found.get("terminationGracePeriodSeconds")
    if own is not None and own <= 0:
        errors.append(field.invalid(f"{path}.terminationGracePeriodSeconds", own, "must be greater than 0"))
    return errors


def lifecycle(found: Obj, path: str, grace: int, os: str) -> Errors:
    """Check the hooks and the stop signal of a container."""
    errors: Errors = []
    for member in ("postStart", "preStop"):
        if found.get(member) is not None:
            errors += handler(found[member], f"{path}.{member}", grace)
    signal = found.get("stopSignal")
    if signal is not None:
        at = f"{path}.stopSignal"
        if not os:
            errors.append(field.forbidden(at, "may not be set for containers with empty `spec.os.name`"))
        elif os == "windows" and signal not in ("SIGKILL", "SIGTERM"):
            errors.append(field.not_supported(at, signal, ("SIGKILL", "SIGTERM")))
        elif os == "linux" and signal not in _LINUX_SIGNALS:
            errors.append(field.not_supported(at, signal, _LINUX_SIGNALS))
    return errors


def handler(found: Obj, path: str, grace: int) -> Errors:
    """Check that a probe or hook has exactly one way of acting, and a right one."""
    errors: Errors = []
    given = [kind for kind in _ACTIONS if found.get(kind) is not None]
    for i, kind in enumerate(given):
        at = f"{path}.{kind}"
        if i:
            errors.append(field.forbidden(at, "may not specify more than 1 handler type"))
        elif kind == "sleep":
            errors += _sleep(found[kind], at, grace)
        else:
            errors += _ACTIONS[kind](found[kind], at)
    if not given:
        errors.append(field.required(path, "must specify a handler type"))
    return errors


def _exec(action: Obj, path: str) -> Errors:
    return [] if action.get("command") else [field.required(f"{path}.command")]


def _http_get(action: Obj, path: str) -> Errors:
    errors = [] if action.get("path") else [field.required(f"{path}.path")]
    errors += port_or_name(action.get("port"), f"{path}.port")
    scheme = action.get("scheme", "")
    if scheme not in _SCHEMES:
        errors.append(field.not_supported(f"{path}.scheme", scheme, _SCHEMES))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        errors += [field.invalid(f"{path}.httpHeaders", name, m) for m in checks.http_header(name)]
    return errors


def _port(action: Obj, path: str) -> Errors:
    return port_or_name(action.get("port"), f"{path}.port")


def _sleep(action: Obj, path: str, grace: int) -> Errors:
    seconds = action.get("seconds", 0)
    if 0 <= seconds <= grace:
        return []
    detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
    return [field.invalid(path, seconds, detail)]


_ACTIONS: dict[str, Any] = {"exec": _exec, "httpGet": _http_get, "tcpSocket": _port, "grpc": _port, "sleep": None}
