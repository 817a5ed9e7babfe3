"""PersistentVolumeClaims, alone and as templates."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks, metadata, resources
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import POSITIVE, label_selector, named

Obj = dict[str, Any]
Errors = list[FieldError]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_ZERO = Quantity.parse("0")


def claim_template(template: Obj, path: str) -> Errors:
    """Check the template of a claim."""
    meta = template.get("metadata") or {}
    errors = metadata.labels(meta.get("labels") or {}, f"{path}.metadata.labels")
    errors += metadata.annotations(meta.get("annotations") or {}, f"{path}.metadata.annotations")
    return errors + claim_spec(template.get("spec") or {}, f"{path}.spec")


def claim_spec(spec: Obj, path: str = "spec") -> Errors:
    """Check what a claim asks for (core ``ValidatePersistentVolumeClaimSpec``)."""
    errors: Errors = []
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(field.required(f"{path}.accessModes", "at least 1 access mode is required"))
    errors += label_selector(spec.get("selector"), f"{path}.selector")
    errors += access_modes(modes, f"{path}.accessModes")
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    at = f"{path}.resources[storage]"
    if storage is None:
        errors.append(field.required(at))
    elif Quantity.parse(storage) <= _ZERO:
        errors.append(field.invalid(at, storage, POSITIVE))
    else:
        errors += resources.amount("storage", storage, at)
    if spec.get("storageClassName"):
        errors += named(spec["storageClassName"], f"{path}.storageClassName", checks.subdomain)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(field.not_supported(f"{path}.volumeMode", mode, VOLUME_MODES))
    return errors + _sources(spec, path)


def access_modes(modes: list[str], path: str) -> Errors:
    """Check access modes: ReadWriteOncePod goes with no other."""
    errors = [field.not_supported(path, m, ACCESS_MODES) for m in modes if m not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        errors.append(field.forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def _sources(spec: Obj, path: str) -> Errors:
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    errors: Errors = []
    if source:
        errors += _source(source, f"{path}.dataSource")
    if ref:
        errors += _source(ref, f"{path}.dataSourceRef")
        namespace = ref.get("namespace")
        if namespace:
            errors += named(namespace, f"{path}.dataSourceRef.namespace", checks.label)
    if ref and ref.get("namespace"):
        if source:
            detail = "may not be specified when dataSourceRef.namespace is specified"
            errors.append(field.invalid(path, path + ".dataSource", detail))
    elif source and ref and source != {k: v for k, v in ref.items() if k != "namespace"}:
        errors.append(field.invalid(path, f"{path}.dataSource", "must match dataSourceRef"))
    return errors


def _source(source: Obj, path: str) -> Errors:
    errors: Errors = []
    name, kind, group = source.get("name"), source.get("kind"), source.get("apiGroup") or ""
    if not name:
        errors.append(field.required(f"{path}.name"))
    if not kind:
        errors.append(field.required(f"{path}.kind"))
    if not group and kind != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(field.invalid(path, kind or "", detail))
    if group:
        errors += named(group, f"{path}.apiGroup", checks.subdomain)
    return errors


def _create(obj: Obj) -> Errors:
    return claim_spec(obj["spec"])


_IMMUTABLE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def _update(obj: Obj, old: Obj) -> Errors:
    spec, before = obj["spec"], old["spec"]
    errors: Errors = []
    munged = dict(spec)
    if not before.get("volumeName") and spec.get("volumeName"):
        # The controller binds the claim.
        munged.pop("volumeName")
        if "volumeName" in before:
            munged["volumeName"] = before["volumeName"]
    if before.get("storageClassName") is None and spec.get("storageClassName") is not None:
        munged.pop("storageClassName")
    bound = (old.get("status") or {}).get("phase") == "Bound"
    if bound:
        requests = {**(spec.get("resources") or {}).get("requests", {})}
        old_storage = ((before.get("resources") or {}).get("requests") or {}).get("storage")
        if old_storage is not None:
            requests["storage"] = old_storage
        munged["resources"] = {**(spec.get("resources") or {}), "requests": requests}
    if spec.get("volumeAttributesClassName") is not None or before.get("volumeAttributesClassName") is None:
        munged.pop("volumeAttributesClassName", None)
        if "volumeAttributesClassName" in before:
            munged["volumeAttributesClassName"] = before["volumeAttributesClassName"]
    if munged != before:
        errors.append(field.forbidden("spec", _IMMUTABLE))
    return errors + _resize(obj, old)


def _resize(obj: Obj, old: Obj) -> Errors:
    new, before = (((o["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0") for o in (obj, old))
    if Quantity.parse(new) < Quantity.parse(before):
        least = ((old.get("status") or {}).get("capacity") or {}).get("storage", "0")
        if Quantity.parse(new) <= Quantity.parse(least):
            detail = "field can not be less than status.capacity"
            return [field.forbidden("spec.resources.requests.storage", detail)]
    return []


def _update_status(obj: Obj, old: Obj) -> Errors:
    status = obj.get("status") or {}
    errors: Errors = []
    for name, amount in (status.get("capacity") or {}).items():
        path = f"status.capacity[{name}]"
        errors += resources.resource_name(name, path) + resources.amount(name, amount, path)
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        if state not in _RESIZE_STATES:
            path = f"status.allocatedResourceStatuses[{name}]"
            errors.append(field.not_supported(path, state, _RESIZE_STATES))
    for name, amount in (status.get("allocatedResources") or {}).items():
        errors += resources.amount(name, amount, f"status.allocatedResources[{name}]")
    return errors


_RESIZE_STATES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizePending", "NodeResizeInProgress",
    "NodeResizeInfeasible",
)  # fmt: skip

RULES = {
    ("", "persistentvolumeclaims"): Rules(create=_create, update=_update, subresources={"status": _update_status}),
}
