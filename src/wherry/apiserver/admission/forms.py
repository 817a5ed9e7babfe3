"""An operation as others are told of it: in the version that they asked for, as an AdmissionRequest."""

from dataclasses import dataclass
from typing import Any

from wherry.api import defaults, meta
from wherry.api.errors import InternalError
from wherry.api.resources import NAMESPACES, Resource, Subresource
from wherry.api.schema import TypeSchema
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.plugin import CONNECT, CREATE, DELETE, UPDATE, Operation
from wherry.apiserver.conversion import Conversion

Object = dict[str, Any]

_OPTIONS = {CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions"}
"""By what is done, not by how it was asked for: a patch updates or, as an apply may, creates."""
_CONNECT_KINDS = {
    ("pods", "exec"): "PodExecOptions",
    ("pods", "attach"): "PodAttachOptions",
    ("pods", "portforward"): "PodPortForwardOptions",
    ("pods", "proxy"): "PodProxyOptions",
    ("services", "proxy"): "ServiceProxyOptions",
    ("nodes", "proxy"): "NodeProxyOptions",
}


@dataclass(slots=True)
class Form:
    """The objects of an operation in one version of its resource; `obj` and `old` are shared and never changed."""

    resource: Resource
    obj: Object | None
    old: Object | None


async def form_of(context: AdmissionContext, operation: Operation, resource: Resource) -> Form:
    """Return the operation's objects in the version of `resource`."""
    if operation.operation == CONNECT:
        return Form(resource, _connection(operation), None)
    own = operation.resource
    if resource is own or _taking(operation) is not None:
        return Form(resource, operation.obj, operation.old)
    return Form(
        resource,
        await converted(context, operation.obj, own, resource),
        await converted(context, operation.old, own, resource),
    )


async def converted(context: AdmissionContext, obj: Object | None, own: Resource, wanted: Resource) -> Object | None:
    """Return an object of one version in another, through the version that is stored."""
    if obj is None or own is wanted:
        return obj
    conversions = context.registry.conversions
    back, forth = conversions.get(own), conversions.get(wanted)
    stored = await _to_stored(back, obj) if back is not None else obj
    if forth is None:
        return {**stored, "apiVersion": wanted.api_version}
    if forth.fetch is not None:
        return (await forth.fetch([stored]))[0]
    return forth.from_stored(stored)


async def _to_stored(conversion: Conversion, obj: Object) -> Object:
    return await conversion.send(obj) if conversion.send is not None else conversion.to_stored(obj)


def _taking(operation: Operation) -> Subresource | None:
    """Return the subresource that takes another kind than its resource: a Scale, an Eviction."""
    found = operation.resource.subresources.get(operation.subresource)
    return None if found is None or found.kind == operation.resource.kind else found


def schema_of(context: AdmissionContext, operation: Operation, form: Form) -> TypeSchema:
    """Return the schema of the objects of a form."""
    taking = _taking(operation)
    return context.schemas.of(form.resource) if taking is None else context.schemas.of_subresource(taking)


async def replace(context: AdmissionContext, operation: Operation, form: Form, changed: Object) -> bool:
    """Make `changed`, in the version of `form`, the operation's object; tell whether it differs. Raises InternalError.

    It is brought into the form of its schema and defaulted again.
    """
    new, _, error = schema_of(context, operation, form).conform(changed)
    if error is not None:
        raise InternalError.of(error)
    new["metadata"] = dict(new.get("metadata") or {})
    if _taking(operation) is not None:
        operation.obj = new
        return new != form.obj
    defaults.default(form.resource, new)
    if new == form.obj:
        return False
    back = await converted(context, new, form.resource, operation.resource)
    operation.obj = back if back is not new else meta.copy(new)
    return True


def _connection(operation: Operation) -> Object:
    kind = _CONNECT_KINDS.get((operation.resource.plural, operation.subresource), "PodProxyOptions")
    return {"kind": kind, "apiVersion": "v1", **(operation.options or {})}


def request_of(operation: Operation, form: Form) -> Object:
    """Return the AdmissionRequest without its UID and objects: what expressions see as ``request``."""
    asked = operation.resource
    name, namespace = operation.name, operation.namespace
    if asked is NAMESPACES and name and operation.verb != "create":
        namespace = name
    request = {
        "kind": _kind(form.resource, form.obj or form.old),
        "resource": _resource(form.resource),
        "requestKind": _kind(asked, (form.obj if form.resource is asked else operation.obj) or operation.old),
        "requestResource": _resource(asked),
        "operation": operation.operation,
        "userInfo": operation.user.to_dict(),
        "dryRun": operation.dry_run,
        "options": _options(operation),
    }
    optional = {
        "subResource": operation.subresource,
        "requestSubResource": operation.subresource,
        "name": name,
        "namespace": namespace,
    }
    request.update({key: value for key, value in optional.items() if value})
    return request


def _kind(resource: Resource, obj: Object | None) -> Object:
    version, kind = resource.api_version, resource.kind
    if obj is not None:
        version, kind = obj.get("apiVersion") or version, obj.get("kind") or kind
    group, _, number = version.rpartition("/")
    return {"group": group, "version": number, "kind": kind}


def _resource(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def _options(operation: Operation) -> Object | None:
    kind = _OPTIONS.get(operation.operation)
    if kind is None:
        return None
    options: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if operation.operation == DELETE:
        options |= operation.options or {}
    else:
        given = operation.params
        options |= {member: given[member] for member in ("fieldManager", "fieldValidation") if given.get(member)}
    if operation.dry_run:
        options["dryRun"] = ["All"]
    return options
