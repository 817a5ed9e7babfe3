"""PersistentVolumeClaims, alone and as templates."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks, metadata, resources
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import IMMUTABLE, POSITIVE, immutable, label_selector, named

Obj = dict[str, Any]
Errors = list[FieldError]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_ZERO = Quantity.parse("0")


_NOT_IN_TEMPLATE = (
    "name", "generateName", "namespace", "selfLink", "resourceVersion", "generation", "deletionGracePeriodSeconds",
    "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip


def claim_template(template: Obj, path: str) -> Errors:
    """Check the template of the claim of one pod, which names it: only labels and annotations can be given."""
    meta = template.get("metadata") or {}
    errors = metadata.annotations(meta.get("annotations") or {}, f"{path}.metadata.annotations")
    errors += metadata.labels(meta.get("labels") or {}, f"{path}.metadata.labels")
    errors += [field.forbidden(f"{path}.metadata.{m}", "cannot be set") for m in _NOT_IN_TEMPLATE if meta.get(m)]
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
    errors += _sources(spec, path)
    if spec.get("volumeAttributesClassName"):
        at = f"{path}.volumeAttributesClassName"
        errors += named(spec["volumeAttributesClassName"], at, checks.subdomain)
    return errors


def access_modes(modes: list[str], path: str) -> Errors:
    """Check access modes: ReadWriteOncePod goes with no other."""
    errors = [field.not_supported(path, m, ACCESS_MODES) for m in modes if m not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and any(m in ACCESS_MODES for m in modes if m != "ReadWriteOncePod"):
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
    annotation, old_annotation = (_class_annotation(o) for o in (obj, old))
    name, was = spec.get("storageClassName"), before.get("storageClassName")
    upgraded = old_annotation is not None and was is None and name == old_annotation
    if upgraded and annotation in (None, old_annotation):
        munged.pop("storageClassName")
    else:
        if (annotation or "") != (old_annotation or ""):
            errors.append(field.invalid(f"metadata.annotations.{_CLASS}", annotation or "", IMMUTABLE))
        if name is not None and was is None and old_annotation in (None, name):
            munged.pop("storageClassName")
    if (old.get("status") or {}).get("phase") == "Bound":
        _free_of_bound(munged, before)
    if munged != before:
        errors.append(field.forbidden("spec", _IMMUTABLE))
    errors += _resize(obj, old) + immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    return errors + _attributes_class_change(spec, before)


_CLASS = "volume.beta.kubernetes.io/storage-class"


def _class_annotation(obj: Obj) -> str | None:
    found: str | None = (obj["metadata"].get("annotations") or {}).get(_CLASS)
    return found


def _free_of_bound(munged: Obj, before: Obj) -> None:
    """A bound claim may ask for another size, and for other attributes."""
    requests = (munged.get("resources") or {}).get("requests")
    old_storage = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    if requests is not None and old_storage is not None:
        munged["resources"] = {**munged["resources"], "requests": {**requests, "storage": old_storage}}
    if munged.pop("volumeAttributesClassName", None) is not None and "volumeAttributesClassName" in before:
        munged["volumeAttributesClassName"] = before["volumeAttributesClassName"]


def _attributes_class_change(spec: Obj, before: Obj) -> Errors:
    name, path = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
    if before.get("volumeAttributesClassName") is None or name == before["volumeAttributesClassName"]:
        return []
    if name is None:
        return [field.forbidden(path, "update from non-nil value to nil is forbidden")]
    if not name:
        return [field.forbidden(path, "update from non-nil value to an empty string is forbidden")]
    return []


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
        errors += resources.basic_quantity(amount, f"status.capacity[{name}]")
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        path = "status.allocatedResourceStatus"
        errors += _allocated_name(name, path)
        if state not in _RESIZE_STATES:
            errors.append(field.not_supported(path, name, _RESIZE_STATES))
    for name, amount in (status.get("allocatedResources") or {}).items():
        path = "status.allocatedResources"
        wrong = _allocated_name(name, path)
        if not wrong:
            at = f"{path}[{name}]"
            wrong = resources.basic_quantity(amount, at) or resources.amount("storage", amount, at)
        errors += wrong
    return errors


def _allocated_name(name: str, path: str) -> Errors:
    errors = named(name, path, checks.qualified_name)
    if not errors and resources.is_native(name) and name != "storage":
        errors.append(field.not_supported(path, name, ("storage",)))
    return errors


_RESIZE_STATES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizePending", "NodeResizeInProgress",
    "NodeResizeInfeasible",
)  # fmt: skip

RULES = {
    ("", "persistentvolumeclaims"): Rules(create=_create, update=_update, subresources={"status": _update_status}),
}
