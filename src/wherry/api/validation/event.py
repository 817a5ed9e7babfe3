"""Events, in the form of the core group and in that of ``events.k8s.io``."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

# Errors name the fields as the core group does, whatever form the object has.
_NEW_NAMES = {
    "involvedObject": "regarding", "message": "note", "source": "deprecatedSource", "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp", "lastTimestamp": "deprecatedLastTimestamp",
    "reportingController": "reportingController",
}  # fmt: skip


def _is_new(obj: Obj) -> bool:
    return obj.get("apiVersion") == "events.k8s.io/v1"


def _get(obj: Obj, member: str) -> Any:
    if _is_new(obj):
        return obj.get(_NEW_NAMES.get(member, member))
    return obj.get("reportingComponent" if member == "reportingController" else member)


def _create(obj: Obj) -> Errors:
    return _legacy(obj) + (_strict(obj) if _is_new(obj) else [])


def _legacy(obj: Obj) -> Errors:
    namespace = obj["metadata"].get("namespace", "")
    about = (_get(obj, "involvedObject") or {}).get("namespace") or ""
    mismatch = field.invalid("involvedObject.namespace", about, "does not match event.namespace")
    if not obj.get("eventTime"):
        fits = namespace == about if about else namespace == "default"
        errors = [] if fits else [mismatch]
    else:
        errors = [mismatch] if not about and namespace not in ("default", "kube-system") else []
        errors += _reporting(obj)
        for member, limit in (("action", 128), ("reason", 128), ("message", 1024)):
            value = _get(obj, member) or ""
            if not value and member != "message":
                errors.append(field.required(member))
            if len(value.encode()) > limit:
                errors.append(field.invalid(member, "", f"can have at most {limit} characters"))
    return errors + named(namespace, "namespace", checks.subdomain)


def _reporting(obj: Obj) -> Errors:
    errors: Errors = []
    path = "reportingController" if _is_new(obj) else "reportingComponent"
    controller, instance = _get(obj, "reportingController") or "", obj.get("reportingInstance") or ""
    if not controller:
        errors.append(field.required(path))
    errors += named(controller, path, checks.qualified_name)
    if not instance:
        errors.append(field.required("reportingInstance"))
    if len(instance.encode()) > 128:
        errors.append(field.invalid("reportingInstance", "", "can have at most 128 characters"))
    return errors


def _series(series: Obj | None) -> Errors:
    if series is None:
        return []
    few = series.get("count", 0) < 2
    errors = [field.invalid("series.count", "", "should be at least 2")] if few else []
    return errors if series.get("lastObservedTime") else [*errors, field.required("series.lastObservedTime")]


def _strict(obj: Obj) -> Errors:
    errors = named(obj["metadata"].get("name") or "", "metadata.name", checks.subdomain)
    errors += _series(obj.get("series"))
    if not obj.get("eventTime"):
        errors.append(field.required("eventTime"))
    if obj.get("type") not in ("Normal", "Warning"):
        errors.append(field.invalid("type", "", f"has invalid value: {obj.get('type', '')}"))
    for member in ("firstTimestamp", "lastTimestamp", "count"):
        if _get(obj, member):
            errors.append(field.invalid(member, "", "needs to be unset"))
    source = _get(obj, "source") or {}
    if source.get("component") or source.get("host"):
        errors.append(field.invalid("source", "", "needs to be unset"))
    return errors


# Upstream names the reason twice, and so do its answers.
_IMMUTABLE = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "reason", "type",
    "eventTime", "action", "related", "reportingController", "reportingInstance",
)  # fmt: skip


def _update(obj: Obj, old: Obj) -> Errors:
    """What the core group's form may hold, and the new one may not be given, may stay."""
    errors = _legacy(obj)
    if not _is_new(obj):
        return errors
    if obj.get("series") != old.get("series"):
        errors += _series(obj.get("series"))
    for member in _IMMUTABLE:
        value = _get(obj, member)
        if (value or None) != (_get(old, member) or None):
            errors.append(field.invalid(member, value if value is not None else "", "field is immutable"))
    return errors


_EVENTS = Rules(create=_create, update=_update, name=metadata.any_name, recheck=False)

RULES = {("", "events"): _EVENTS, ("events.k8s.io", "events"): _EVENTS}
