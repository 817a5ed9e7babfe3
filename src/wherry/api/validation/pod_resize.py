"""Resizes of pods: cpu and memory may change, as long as the pod's class of service does not."""

from typing import Any

from wherry.api import field, meta
from wherry.api.field import FieldError
from wherry.api.strategy.pods import qos_class
from wherry.api.validation.pod_spec import MIRROR

Obj = dict[str, Any]
Errors = list[FieldError]


_RESIZABLE = "only cpu and memory resources are mutable"


def unable(old: Obj) -> Errors:
    """Tell why a pod is none that can be resized at all."""
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [field.forbidden("[]", "static pods cannot be resized")]
    if (old["spec"].get("os") or {}).get("name") == "windows":
        return [field.forbidden("[]", "windows pods cannot be resized")]
    return []


def changes(pod: Obj, old: Obj) -> Errors:
    """Check what a resize changes."""
    errors: Errors = []
    status = old.get("status") or {}
    if qos_class(pod) != (status.get("qosClass") or qos_class(old)):
        detail = "Pod QOS Class may not change as a result of resizing"
        errors.append(field.invalid("spec", status.get("qosClass", ""), detail))
    running = [s for s in status.get("containerStatuses") or () if (s.get("state") or {}).get("running") is not None]
    if running and running[0].get("resources") is None:
        errors.append(field.forbidden("spec", "Pod running on node without support for resize"))
    expected = meta.copy(pod["spec"])
    errors += _pod_level_resize(expected, old["spec"])
    if others := _other_containers(expected, old["spec"]):
        return errors + others
    errors += _container_resizes(expected, old["spec"])
    return errors or _unlike(expected, old["spec"], _RESIZABLE)


def _pod_level_resize(spec: Obj, old: Obj) -> Errors:
    """Check what the pod as a whole has, and put the old amounts into `spec`."""
    new, was = spec.get("resources"), old.get("resources")
    if not any((found or {}).get(member) for found in (new, was) for member in ("requests", "limits")):
        return []
    if new is None:
        return [field.forbidden("spec.resources", "pod-level resources cannot be removed")]
    errors = _no_removed(new, was or {}, "spec.resources", kind="pod-level resource")
    spec["resources"] = _with_old_amounts(new, was or {})
    if was is None and not spec["resources"]:
        del spec["resources"]
    return errors + _unlike(spec.get("resources"), was, f"{_RESIZABLE} at pod-level")


def _other_containers(spec: Obj, old: Obj) -> Errors:
    errors: Errors = []
    for members in ("containers", "initContainers"):
        new, was = spec.get(members) or [], old.get(members) or []
        if len(new) != len(was):
            errors.append(field.forbidden(f"spec.{members}", f"{members} may not be added or removed on resize"))
            continue
        for i, (one, other) in enumerate(zip(new, was, strict=True)):
            if one.get("name") != other.get("name"):
                detail = f"{members} may not be renamed or reordered on resize"
                errors.append(field.forbidden(f"spec.{members}[{i}].name", detail))
    return errors


def _container_resizes(spec: Obj, old: Obj) -> Errors:
    """Check what containers have, init containers first, and put the old amounts into `spec`.

    Whether the node resizes init containers that run to an end is for the plugin NodeDeclaredFeatureValidator.
    """
    containers, initial = _pairs(spec, old, "containers"), _pairs(spec, old, "initContainers")
    errors: Errors = []
    for members, pairs in (("initContainers", initial), ("containers", containers)):
        for i, (new, was) in enumerate(pairs):
            path = f"spec.{members}[{i}].resources"
            errors += _no_removed(new.get("resources") or {}, was.get("resources") or {}, path)
    for new, was in containers:
        errors += _unlike(_with_old_resources(new, was), was, _RESIZABLE)
    for i, (new, was) in enumerate(initial):
        at, is_changed = f"spec.initContainers[{i}]", new != was
        detail = "only cpu and memory resources for init or sidecar containers are mutable"
        errors += _unlike(_with_old_resources(new, was), was, detail, at)
        if is_changed and new.get("restartPolicy") != "Always" and _restarts_for_resize(new):
            detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
            errors.append(field.forbidden(at, detail))
    return errors


def _restarts_for_resize(container: Obj) -> bool:
    return any(policy.get("restartPolicy") == "RestartContainer" for policy in container.get("resizePolicy") or ())


def _pairs(spec: Obj, old: Obj, members: str) -> list[tuple[Obj, Obj]]:
    return list(zip(spec.get(members) or (), old.get(members) or (), strict=True))


def _with_old_resources(container: Obj, old: Obj) -> Obj:
    container["resources"] = _with_old_amounts(container.get("resources") or {}, old.get("resources") or {})
    return container


def _unlike(new: Obj | None, old: Obj | None, detail: str, path: str = "spec") -> Errors:
    return [] if new == old else [field.forbidden(path, detail)]


def _no_removed(new: Obj, old: Obj, path: str, *, kind: str = "resource") -> Errors:
    return [
        field.forbidden(f"{path}.{member}", f"{kind} {member} cannot be removed")
        for member in ("requests", "limits")
        if (old.get(member) or {}).keys() - (new.get(member) or {}).keys()
    ]


def _with_old_amounts(new: Obj, old: Obj) -> Obj:
    """Return requirements with the old amounts of what can be resized."""
    result = dict(new)
    for member in ("requests", "limits"):
        kept = {k: v for k, v in (new.get(member) or {}).items() if k not in ("cpu", "memory")}
        kept.update({k: v for k, v in (old.get(member) or {}).items() if k in ("cpu", "memory")})
        if kept:
            result[member] = kept
        elif member not in old:
            result.pop(member, None)
        else:
            result[member] = old[member]
    return result
