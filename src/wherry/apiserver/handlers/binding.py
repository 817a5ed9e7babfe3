"""POST to ``pods/NAME/binding`` (and to the old ``bindings``): the scheduler's decision."""

from typing import Any

from wherry.api import meta
from wherry.api.errors import BadRequest, Conflict, Invalid
from wherry.api.field import FieldError, not_supported, required
from wherry.api.resources import PODS
from wherry.apiserver.admission.plugin import CREATE
from wherry.apiserver.api import Api, operation
from wherry.apiserver.decode import decode, options_of
from wherry.apiserver.handlers.writing import change
from wherry.apiserver.request import Made, Request
from wherry.util import clock

Object = dict[str, Any]


async def handle(api: Api, request: Request) -> Made:
    """Give a pod its node. Raises Conflict when it has one."""
    dry = options_of(request, "CreateOptions")
    schema = api.schemas.of_subresource(PODS.subresources["binding"])
    wanted = decode(request, schema, api_version="v1", kind="Binding")
    name = wanted["metadata"].get("name") or ""
    if request.name and name != request.name:
        raise BadRequest("name in URL does not match name in Binding object")
    request.resource, request.name, request.subresource = PODS, name, "binding"
    asked = operation(request, CREATE, obj=wanted, dry_run=dry)
    await api.admission.admit(asked)
    wanted = asked.obj or wanted
    errors = _errors(wanted.get("target") or {})
    if errors:
        raise Invalid.of("Binding", name, errors)
    await api.admission.validate(asked)

    async def make(old: Object) -> Object:
        return _bound(old, wanted["target"]["name"], wanted["metadata"])

    await change(api, request, make, dry=dry, admitted=True)
    return Made({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, None, 201)


def _errors(target: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(not_supported("target.kind", target["kind"], ("Node", "<empty>"), ordered=True))
    if not target.get("name"):
        errors.append(required("target.name"))
    return errors


def _bound(pod: Object, node: str, binding: Object) -> Object:
    name = pod["metadata"]["name"]
    uid, version = binding.get("uid"), binding.get("resourceVersion")
    if uid and uid != meta.uid(pod):
        raise Conflict.of(
            "pods", name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta.uid(pod)}"
        )
    if version and version != pod["metadata"]["resourceVersion"]:
        raise Conflict.modified("pods", name)
    if meta.is_deleting(pod):
        raise Conflict.of("pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod["spec"].get("nodeName"):
        raise Conflict.of("pods/binding", name, f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"')
    if pod["spec"].get("schedulingGates"):
        raise Conflict.of("pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
    metadata = dict(pod["metadata"])
    for member in ("annotations", "labels"):
        if binding.get(member):
            metadata[member] = {**(metadata.get(member) or {}), **binding[member]}
    status = dict(pod.get("status") or {})
    scheduled = {"type": "PodScheduled", "status": "True"}
    old = meta.condition(pod, "PodScheduled")
    if old is None or old.get("status") != "True":
        scheduled["lastProbeTime"] = None  # type: ignore[assignment]
        if metadata.get("generation"):
            scheduled["observedGeneration"] = metadata["generation"]
        status["conditions"] = meta.with_condition(status.get("conditions") or (), scheduled, now=clock.timestamp())
    return {**pod, "metadata": metadata, "spec": {**pod["spec"], "nodeName": node}, "status": status}
