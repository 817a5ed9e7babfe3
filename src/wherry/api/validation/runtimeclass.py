"""RuntimeClasses."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.resources import requirements
from wherry.api.validation.rules import Rules
from wherry.api.validation.scheduling import tolerations
from wherry.api.validation.shared import immutable, named

Obj = dict[str, Any]
Errors = list[FieldError]


def _class(obj: Obj) -> Errors:
    handler = obj.get("handler") or ""
    errors = named(handler, "handler", checks.label) if handler else [field.required("handler")]
    overhead, scheduling = obj.get("overhead"), obj.get("scheduling")
    if overhead is not None:
        errors += requirements({"limits": overhead.get("podFixed") or {}}, "overhead.podFixed")
    if scheduling is not None:
        errors += metadata.labels(scheduling.get("nodeSelector") or {}, "scheduling.nodeSelector")
        errors += _tolerations(scheduling.get("tolerations") or [], "scheduling.tolerations")
    return errors


def _tolerations(found: list[Obj], path: str) -> Errors:
    errors = tolerations(found, path)
    return errors + [field.duplicate(f"{path}[{i}]", t) for i, t in enumerate(found) if t in found[:i]]


def _update(obj: Obj, old: Obj) -> Errors:
    return immutable(obj.get("handler") or "", old.get("handler") or "", "handler")


RULES = {("node.k8s.io", "runtimeclasses"): Rules(create=_class, update=_update)}
