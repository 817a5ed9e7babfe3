"""Devices that must be made ready before a pod is bound: their binding conditions (KEP-5007).

The conditions are those that the driver writes into ``status.devices`` of a claim.
"""

from datetime import datetime
from enum import Enum
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.util import clock


class Readiness(Enum):
    """What becomes of the devices of a claim. FAILED and LATE ones are to be given back."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"
    LATE = "late"


def must_wait(claim: Object) -> bool:
    """Tell whether any device of an allocated claim has binding conditions."""
    return any(result.get("bindingConditions") for result in _results(claim))


def readiness_of(claim: Object, *, now: datetime, timeout: float) -> tuple[Readiness, str]:
    """Return how far the devices of an allocated claim are, and why they failed. `timeout` counts in seconds from the
    allocation on."""
    status = claim.get("status") or {}
    waiting = False
    for result in _results(claim):
        if not result.get("bindingConditions"):
            continue
        true = _true_conditions(status, result)
        for failing in result.get("bindingFailureConditions") or ():
            if failing in true:
                device = "/".join((result["driver"], result["pool"], result["device"]))
                return Readiness.FAILED, f"claim {meta.key_of(claim)}: binding of device {device} failed: {failing}"
        waiting = waiting or not true.issuperset(result["bindingConditions"])
    if not waiting:
        return Readiness.READY, ""
    since = status["allocation"].get("allocationTimestamp")
    if since and (now - clock.parse(since)).total_seconds() > timeout:
        return Readiness.LATE, f"claim {meta.key_of(claim)}: its devices were not ready within {timeout:g} s"
    return Readiness.WAITING, ""


def _results(claim: Object) -> list[Object]:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    return (allocation.get("devices") or {}).get("results") or []


def _true_conditions(status: Object, result: dict[str, Any]) -> set[str]:
    wanted = [result.get(member) for member in ("driver", "pool", "device", "shareID")]
    for device in status.get("devices") or ():
        if [device.get(member) for member in ("driver", "pool", "device", "shareID")] == wanted:
            return {found["type"] for found in device.get("conditions") or () if found.get("status") == "True"}
    return set()
