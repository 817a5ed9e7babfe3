"""LimitRanger: a namespace's LimitRanges give pods default requests and limits and bound what may be asked for."""

from collections.abc import Iterable, Iterator
from typing import Any

from wherry.api import quantity, quota
from wherry.api.quantity import Quantity
from wherry.api.resources import LIMITRANGES, PERSISTENTVOLUMECLAIMS, PODS
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/limitranger``."""

    name = "LimitRanger"
    resources = (
        PODS,
        PERSISTENTVOLUMECLAIMS,
    )
    operations = frozenset({CREATE, UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        # A pod's resources change only by a resize.
        resized = operation.operation == UPDATE and operation.resource is PODS
        if operation.subresource != ("resize" if resized else ""):
            return False
        return bool(self._reader.list(LIMITRANGES, operation.namespace))

    def admit(self, operation: Operation) -> None:
        if operation.obj is not None and operation.operation == CREATE and operation.concerns(PODS):
            for limit_range in self._reader.list(LIMITRANGES, operation.namespace):
                _default(operation.obj, limit_range)

    def validate(self, operation: Operation) -> None:
        if operation.obj is None:
            return
        for limit_range in self._reader.list(LIMITRANGES, operation.namespace):
            items = (limit_range.get("spec") or {}).get("limits") or ()
            is_pod = operation.concerns(PODS) or operation.concerns(PODS, subresource="resize")
            found = list(_pod_violations(operation.obj, items) if is_pod else _claim_violations(operation.obj, items))
            if found:
                why = found[0] if len(found) == 1 else "[" + ", ".join(dict.fromkeys(found)) + "]"
                raise forbidden(operation.resource, operation.name, why)


def _default(pod: dict[str, Any], limit_range: dict[str, Any]) -> None:
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        if item.get("type") == "Container":
            requests |= item.get("defaultRequest") or {}
            limits |= item.get("default") or {}
    notes = []
    for kind, label in (("initContainers", "init container"), ("containers", "container")):
        if not pod["spec"].get(kind):
            continue
        pod["spec"][kind] = containers = [dict(container) for container in pod["spec"][kind]]
        for container in containers:
            container["resources"] = resources = dict(container.get("resources") or {})
            for field, defaults, what in (("requests", requests, "request"), ("limits", limits, "limit")):
                given = resources.get(field) or {}
                added = {k: v for k, v in defaults.items() if k not in given}
                if added:
                    resources[field] = {**given, **added}
                    notes.append((what, label, container["name"], sorted(added)))
    if notes:
        # upstream lists requests and limits of a container, containers before init containers
        ordered = sorted(notes, key=lambda n: n[1] != "container")
        text = "; ".join(f"{', '.join(keys)} {what} for {label} {name}" for what, label, name, keys in ordered)
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**annotations, _ANNOTATION: f"LimitRanger plugin set: {text}"}


def _pod_violations(pod: dict[str, Any], items: Iterable[dict[str, Any]]) -> Iterator[str]:
    spec = pod["spec"]
    for item in items:
        kind = item.get("type")
        if kind == "Container":
            for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                resources = container.get("resources") or {}
                yield from _violations(kind, item, _parsed(resources, "requests"), _parsed(resources, "limits"))
        elif kind == "Pod":
            yield from _violations(kind, item, _pod_sum(spec, "requests"), _pod_sum(spec, "limits"))


def _claim_violations(claim: dict[str, Any], items: Iterable[dict[str, Any]]) -> Iterator[str]:
    requests = _parsed((claim.get("spec") or {}).get("resources") or {}, "requests")
    for item in items:
        if item.get("type") == "PersistentVolumeClaim":
            for name, bound in (item.get("min") or {}).items():
                yield from _below_minimum("PersistentVolumeClaim", name, bound, requests, {})
            for name, bound in (item.get("max") or {}).items():
                if name not in requests:
                    yield f"maximum {name} usage per PersistentVolumeClaim is {bound}.  No request is specified"
                elif requests[name] > quantity.parse(bound):
                    yield f"maximum {name} usage per PersistentVolumeClaim is {bound}, but request is {requests[name]}"


def _violations(
    kind: str, item: dict[str, Any], requests: dict[str, Quantity], limits: dict[str, Quantity]
) -> Iterator[str]:
    for name, bound in (item.get("min") or {}).items():
        yield from _below_minimum(kind, name, bound, requests, limits)
    for name, bound in (item.get("max") or {}).items():
        yield from _above_maximum(kind, name, bound, requests, limits)
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        yield from _above_ratio(kind, name, ratio, requests, limits)


def _below_minimum(
    kind: str, name: str, bound: str, requests: dict[str, Quantity], limits: dict[str, Quantity]
) -> Iterator[str]:
    least = quantity.parse(bound)
    if name not in requests:
        yield f"minimum {name} usage per {kind} is {bound}.  No request is specified"
    elif requests[name] < least:
        yield f"minimum {name} usage per {kind} is {bound}, but request is {requests[name]}"
    elif name in limits and limits[name] < least:
        yield f"minimum {name} usage per {kind} is {bound}, but limit is {limits[name]}"


def _above_maximum(
    kind: str, name: str, bound: str, requests: dict[str, Quantity], limits: dict[str, Quantity]
) -> Iterator[str]:
    most = quantity.parse(bound)
    if name not in limits:
        yield f"maximum {name} usage per {kind} is {bound}.  No limit is specified"
    elif limits[name] > most:
        yield f"maximum {name} usage per {kind} is {bound}, but limit is {limits[name]}"
    elif name in requests and requests[name] > most:
        yield f"maximum {name} usage per {kind} is {bound}, but request is {requests[name]}"


def _above_ratio(
    kind: str, name: str, ratio: str, requests: dict[str, Quantity], limits: dict[str, Quantity]
) -> Iterator[str]:
    if name not in requests or not requests[name]:
        yield f"{name} max limit to request ratio per {kind} is {ratio}, but no request is specified or request is 0"
    elif name not in limits or not limits[name]:
        yield f"{name} max limit to request ratio per {kind} is {ratio}, but no limit is specified or limit is 0"
    else:
        found = limits[name].value / requests[name].value
        if found > quantity.parse(ratio).value:
            yield f"{name} max limit to request ratio per {kind} is {ratio}, but provided ratio is {float(found):f}"


def _parsed(resources: dict[str, Any], field: str) -> dict[str, Quantity]:
    return {name: quantity.parse(value) for name, value in (resources.get(field) or {}).items()}


def _pod_sum(spec: dict[str, Any], field: str) -> dict[str, Quantity]:
    """Return what a pod takes as a whole, without the overhead of its runtime class."""
    return quota.pod_amounts({**spec, "overhead": None}, field)
