"""What a pod asks of a node, as whole numbers: thousandths of a CPU, units of everything else."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from wherry.api import quantity

Amounts = dict[str, int]

# What scoring assumes of a container that asks for nothing, so that such pods spread too.
UNASKED_CPU, UNASKED_MEMORY = 100, 200 * 1024 * 1024


@lru_cache(maxsize=8192)
def amount(resource: str, text: str) -> int:
    """Return a quantity as a whole number: ``cpu`` in thousandths, others in units, rounded up."""
    parsed = quantity.parse(text)
    return parsed.milli() if resource == "cpu" else parsed.whole()


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """Return a ResourceList as whole numbers."""
    return {resource: amount(resource, str(text)) for resource, text in (quantities or {}).items()}


def pod_requests(spec: Mapping[str, Any]) -> tuple[Amounts, int, int]:
    """Return what the pod asks for, and the CPU and memory that scoring counts.

    Containers and sidecars add up, init containers count by their largest step (with the sidecars started before),
    requests of the pod itself replace the sum, the overhead comes on top (KEP-753, KEP-2837).
    """
    asked = _effective(spec, _requests)
    counted = _effective(spec, _counted)
    for resource, value in amounts((spec.get("resources") or {}).get("requests")).items():
        asked[resource] = value
        counted[resource] = value
    for resource, value in amounts(spec.get("overhead")).items():
        asked[resource] = asked.get(resource, 0) + value
        counted[resource] = counted.get(resource, 0) + value
    return asked, counted.get("cpu", 0), counted.get("memory", 0)


def counted_spec(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a pod's spec with what it holds while a resize in place is under way.

    A container counts with the largest of what it asks for, what the node has set aside and what it runs with; where
    the node can never grant what is asked for (Infeasible), the wish does not count (KEP-1287).
    """
    spec, status = pod["spec"], pod.get("status") or {}
    held = {
        entry["name"]: ((entry.get("resources") or {}).get("requests") or {}, entry.get("allocatedResources") or {})
        for group in ("containerStatuses", "initContainerStatuses")
        for entry in status.get(group) or ()
        if "resources" in entry or "allocatedResources" in entry
    }
    if not held:
        return spec
    refused = any(
        condition["type"] == "PodResizePending" and condition.get("reason") == "Infeasible"
        for condition in status.get("conditions") or ()
    )
    changed = {}
    for group in ("containers", "initContainers"):
        containers = spec.get(group) or ()
        lasting = [group == "containers" or container.get("restartPolicy") == "Always" for container in containers]
        sized = [
            _sized(container, held.get(container["name"]), refused) if lasts else container
            for container, lasts in zip(containers, lasting, strict=True)
        ]
        if any(new is not old for new, old in zip(sized, containers, strict=True)):
            changed[group] = sized
    return {**spec, **changed} if changed else spec


def _sized(
    container: Mapping[str, Any], held: tuple[Mapping[str, Any], ...] | None, refused: bool
) -> Mapping[str, Any]:
    """Return a container with the requests that count; itself when they are its own."""
    own = (container.get("resources") or {}).get("requests") or {}
    known = [requests for requests in held or () if requests]
    if not known or all(requests == own for requests in known):
        return container
    most: dict[str, str] = {}
    for requests in known if refused else (own, *known):
        for resource, text in requests.items():
            if resource not in most or amount(resource, str(text)) > amount(resource, most[resource]):
                most[resource] = str(text)
    return {**container, "resources": {**(container.get("resources") or {}), "requests": most}}


def _requests(container: Mapping[str, Any]) -> Amounts:
    return amounts((container.get("resources") or {}).get("requests"))


def _counted(container: Mapping[str, Any]) -> Amounts:
    return {"cpu": UNASKED_CPU, "memory": UNASKED_MEMORY, **_requests(container)}


def _effective(spec: Mapping[str, Any], of: Any) -> Amounts:
    total = _sum(of(container) for container in spec.get("containers") or ())
    sidecars: Amounts = {}
    highest: Amounts = {}
    for container in spec.get("initContainers") or ():
        wanted = of(container)
        if container.get("restartPolicy") == "Always":
            total = _sum((total, wanted))
            sidecars = _sum((sidecars, wanted))
            step = sidecars
        else:
            step = _sum((sidecars, wanted))
        for resource, value in step.items():
            highest[resource] = max(highest.get(resource, 0), value)
    for resource, value in highest.items():
        total[resource] = max(total.get(resource, 0), value)
    return total


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for resource, value in part.items():
            total[resource] = total.get(resource, 0) + value
    return total
