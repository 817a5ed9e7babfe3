"""The condition that tells why a pod is about to be deleted, and the deletion (kubernetes ``pkg/api/v1/pod``)."""

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import PODS
from wherry.client.client import STRATEGIC_PATCH, Client
from wherry.util import clock

DISRUPTION_TARGET = "DisruptionTarget"


def disruption(pod: Object, *, reason: str, message: str) -> Object:
    """Return the DisruptionTarget condition for `pod` without its time."""
    condition = {"type": DISRUPTION_TARGET, "status": "True", "reason": reason, "message": message}
    generation = pod["metadata"].get("generation")
    return {**condition, "observedGeneration": generation} if generation else condition


async def _patch_status(client: Client, pod: Object, status: Object) -> None:
    await client.patch(
        PODS,
        meta.name(pod),
        {"metadata": {"uid": meta.uid(pod)}, "status": status},
        meta.namespace(pod),
        content_type=STRATEGIC_PATCH,
        subresource="status",
    )


def _with_time(pod: Object, condition: Object) -> Object:
    before = meta.condition(pod, DISRUPTION_TARGET)
    same = before is not None and before.get("status") == condition["status"]
    at = before.get("lastTransitionTime") if same and before else None
    return {**condition, "lastTransitionTime": at or clock.timestamp()}


async def mark_failed(client: Client, pod: Object, *, reason: str, message: str) -> None:
    """Write that the pod Failed, with a disruption as the cause where `message` is given. Raises StatusError."""
    status: Object = {"phase": "Failed"}
    if message:
        status["conditions"] = [_with_time(pod, disruption(pod, reason=reason, message=message))]
    await _patch_status(client, pod, status)


async def mark_and_delete(client: Client, pod: Object, *, reason: str, message: str) -> None:
    """Say in the pod's status why it is deleted, and delete it; a pod that is gone is no error."""
    condition = _with_time(pod, disruption(pod, reason=reason, message=message))
    try:
        await _patch_status(client, pod, {"conditions": [condition]})
        options = {"preconditions": {"uid": meta.uid(pod)}}
        await client.delete(PODS, meta.name(pod), meta.namespace(pod), options=options)
    except (errors.NotFound, errors.Conflict):
        return
