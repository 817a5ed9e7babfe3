"""POST to ``pods/NAME/binding`` (and to the old ``bindings``): the scheduler's decision."""

from typing import Any

from wherry.api import meta
from wherry.api.errors import BadRequest, Conflict, Invalid, NotFound
from wherry.api.field import FieldError, not_supported, required
from wherry.api.resources import PODS
from wherry.apiserver.admission.plugin import CREATE
from wherry.apiserver.api import Api, operation
from wherry.apiserver.decode import decode, options_of
from wherry.apiserver.handlers.writing import durable
from wherry.apiserver.request import Made, Request
from wherry.store.protocol import Mismatch
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

    await _bind(api, request, wanted, dry=dry)
    return Made({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, None, 201)


async def _bind(api: Api, request: Request, binding: Object, *, dry: bool) -> None:
    """Write the pod with its node, which changes nothing of a valid pod that would have to be looked at again."""
    registry = api.registry
    key = registry.key(PODS, request.namespace, request.name)
    while True:
        record = registry.store.latest(key)
        if record is None:
            raise NotFound.of(PODS.plural, request.name)
        try:
            new = _bound(registry.obj(record), binding["target"]["name"], binding["metadata"])
        except Conflict:
            # Who is told of a conflict reads again, and must find what was in the way.
            await durable(api, record)
            raise
        if dry:
            return
        try:
            await registry.write(PODS, new, namespace=request.namespace, name=request.name, expected=record.revision)
            return
        except Mismatch:
            continue


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
