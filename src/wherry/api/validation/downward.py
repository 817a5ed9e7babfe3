"""References to fields and resources of a pod (the downward API)."""

from collections.abc import Collection
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks

Obj = dict[str, Any]
Errors = list[FieldError]

ENV_FIELDS = frozenset(
    {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    }
)  # fmt: skip
VOLUME_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"}
)
_KNOWN = ENV_FIELDS | VOLUME_FIELDS | {"spec.restartPolicy", "spec.schedulerName", "status.phase"}
_RESOURCES = frozenset(f"{k}.{n}" for k in ("limits", "requests") for n in ("cpu", "memory", "ephemeral-storage"))
_SIZES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")


def field_selector(ref: Obj, path: str, supported: Collection[str]) -> Errors:
    """Check a reference to a field of the pod; `supported` are those that stand alone, without a subscript."""
    if not ref.get("apiVersion"):
        return [field.required(f"{path}.apiVersion")]
    wanted = ref.get("fieldPath", "")
    if not wanted:
        return [field.required(f"{path}.fieldPath")]
    if ref["apiVersion"] != "v1":
        detail = f"error converting fieldPath: unsupported pod version: {ref['apiVersion']}"
        return [field.invalid(f"{path}.fieldPath", wanted, detail)]
    name, subscript = _split(wanted)
    if subscript is not None:
        if name not in ("metadata.annotations", "metadata.labels"):
            detail = f"error converting fieldPath: field label does not support subscript: {wanted}"
            return [field.invalid(f"{path}.fieldPath", wanted, detail)]
        key = subscript.lower() if name == "metadata.annotations" else subscript
        return [field.invalid(path, subscript, m) for m in checks.qualified_name(key)]
    if wanted == "spec.host":
        wanted = "spec.nodeName"
    if wanted not in _KNOWN:
        detail = f"error converting fieldPath: field label not supported: {wanted}"
        return [field.invalid(f"{path}.fieldPath", wanted, detail)]
    return [] if wanted in supported else [field.not_supported(f"{path}.fieldPath", wanted, supported)]


def _split(wanted: str) -> tuple[str, str | None]:
    """``metadata.labels['x']`` is ``metadata.labels`` and ``x``."""
    if wanted.endswith("']"):
        name, found, subscript = wanted[:-2].partition("['")
        if found and name:
            return name, subscript
    return wanted, None


def resource_field_selector(ref: Obj, path: str, *, volume: bool) -> Errors:
    """Check a reference to a container's resource; a volume must name the container."""
    errors: Errors = []
    name = ref.get("resource", "")
    if volume and not ref.get("containerName"):
        errors.append(field.required(f"{path}.containerName"))
    elif not name:
        errors.append(field.required(f"{path}.resource"))
    elif name not in _RESOURCES and not name.startswith(("limits.hugepages-", "requests.hugepages-")):
        errors.append(field.not_supported(f"{path}.resource", name, _RESOURCES))
    return errors + _divisor(name, ref.get("divisor") or "0", path)


def _divisor(name: str, divisor: str, path: str) -> Errors:
    if not Quantity.parse(divisor):
        return []
    kind = name.partition(".")[2]
    known: tuple[str, ...] = _SIZES
    shown = ", ".join(_SIZES)
    if kind == "cpu":
        known, shown, what = ("1m", "1"), "1m and 1", "cpu"
    elif kind in ("memory", "ephemeral-storage"):
        what = "memory" if kind == "memory" else "local ephemeral storage"
    elif kind.startswith("hugepages-"):
        what = "hugepages"
    else:
        return []
    if divisor in known:
        return []
    detail = f"only divisor's values {shown} are supported with the {what} resource"
    return [field.invalid(f"{path}.divisor", name, detail)]
