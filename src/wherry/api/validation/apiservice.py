"""APIServices."""

from base64 import b64decode
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

_STATUSES = ("True", "False", "Unknown")


def _service(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    group, version = spec.get("group") or "", spec.get("version") or ""
    errors = _name(obj["metadata"].get("name") or "", f"{version}.{group}")
    if not group and version != "v1":
        errors.append(field.required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
    if group:
        errors += named(group, "spec.group", checks.subdomain)
    errors += named(version, "spec.version", checks.dns1035_label)
    for member, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        value = spec.get(member) or 0
        if not 0 < value <= most:
            errors.append(field.invalid(f"spec.{member}", value, f"must be positive and less than {most}"))
    return errors + _backend(spec)


def _name(name: str, needed: str) -> Errors:
    if not name:
        return []
    wrong = list(metadata.path_segment(name, False))
    if not wrong and name != needed:
        wrong = [f'must be `spec.version+"."+spec.group`: {field.show(needed)}']
    return [field.invalid("metadata.name", name, m) for m in wrong]


def _backend(spec: Obj) -> Errors:
    errors: Errors = []
    service, bundle, insecure = spec.get("service"), spec.get("caBundle"), bool(spec.get("insecureSkipTLSVerify"))
    if service is None:
        if bundle:
            size = f"{len(b64decode(bundle))} bytes"
            errors.append(field.invalid("spec.caBundle", size, "local APIServices may not have a caBundle"))
        if insecure:
            detail = "local APIServices may not have insecureSkipTLSVerify"
            errors.append(field.invalid("spec.insecureSkipTLSVerify", True, detail))
        return errors
    errors += [field.required(f"spec.service.{m}") for m in ("namespace", "name") if not service.get(m)]
    port = service.get("port") or 0
    wrong = checks.port_number(port)
    if wrong:
        errors.append(field.invalid("spec.service.port", port, "port is not valid: " + ", ".join(wrong)))
    if insecure and bundle:
        errors.append(field.invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"))
    return errors


def _update_status(obj: Obj, old: Obj) -> Errors:
    errors: Errors = []
    for i, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        status = condition.get("status") or ""
        if status not in _STATUSES:
            errors.append(field.not_supported(f"status.conditions[{i}].status", status, _STATUSES, ordered=True))
    return errors


RULES = {
    ("apiregistration.k8s.io", "apiservices"): Rules(
        create=_service, subresources={"status": _update_status}, name=metadata.any_name, update_first=True
    )
}
