"""GET, PUT and PATCH of ``scale``: the replicas of whatever has them."""

from collections.abc import Mapping
from typing import Any

from wherry.api import managedfields, meta
from wherry.api.errors import BadRequest, InternalError, Invalid
from wherry.api.field import invalid
from wherry.api.resources import REPLICATIONCONTROLLERS
from wherry.apiserver import tracking
from wherry.apiserver.api import Api
from wherry.apiserver.decode import decode, options_of
from wherry.apiserver.handlers import get, patch
from wherry.apiserver.handlers.writing import change
from wherry.apiserver.query import boolean
from wherry.apiserver.request import Made, Request, Stored
from wherry.apiserver.scales import ScalePaths
from wherry.apiserver.selectors import selector_text
from wherry.apiserver.table import SCALES
from wherry.apiserver.versions import KindVersions, settled
from wherry.util import clock

Object = dict[str, Any]


_DEFAULT = ScalePaths()
_UNSET = -(1 << 31)
"""What a patch of a custom resource's Scale finds where there are no replicas; to leave it there is an error."""


async def handle(api: Api, request: Request) -> Made:
    """Read or change the scale of an object."""
    paths = api.scales.get(request.resource, _DEFAULT)
    if request.verb == "get":
        found = await get.handle(api, request)
        return Made(_scale(request, api.registry.obj(found.record, request.resource), paths), SCALES)
    kind = request.content_type.partition(";")[0].strip()
    updates = request.verb == "update"
    if updates:
        dry = options_of(request, "UpdateOptions")
        schema = api.schemas.of_subresource(request.resource.subresources["scale"])
        given = decode(request, schema, api_version="autoscaling/v1", kind="Scale")
    else:
        dry = patch.options_of(request, kind)
        given, _ = patch.body_of(request, kind)

    async def make(old: Object) -> Object:
        if kind == patch.APPLY and not updates:
            return await settled(
                api,
                request.resource,
                len(request.body),
                lambda versions: _applied(api, request, old, given, paths, versions=versions),
            )
        scale = given if updates else _patched(api, request, kind, _scale(request, old, paths, unset=_UNSET), given)
        new = _scaled(request, old, scale, paths)
        await tracking.update(api, request, old, new)
        return new

    written = await change(api, request, make, dry=dry)
    obj = api.registry.obj(written.record, request.resource) if isinstance(written, Stored) else written.obj
    return Made(_scale(request, obj, paths), SCALES)


def _applied(
    api: Api, request: Request, old: Object, config: Any, paths: ScalePaths, *, versions: KindVersions
) -> Object:
    """Apply a Scale: to the parent it is the one field that holds the replicas."""
    if not isinstance(config, dict):
        raise BadRequest("error decoding YAML: apply configuration must be an object")
    replicas = read(config, ("spec", "replicas"))
    wanted = replicas
    for member in reversed(paths.spec):
        wanted = {member: wanted}
    resource = request.resource
    content = {} if replicas is None else wanted
    applied = managedfields.apply(
        _without_zero(old, paths) if replicas == 0 else old,
        {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": request.name}, **content},
        manager=request.params["fieldManager"],
        force=boolean(request.params, "force"),
        operation_time=clock.timestamp(),
        api_version=resource.api_version,
        subresource="scale",
        type_schema=api.schema(resource),
        told_version="autoscaling/v1",
        versions=versions,
    )
    return meta.copy(applied)


def _without_zero(obj: Object, paths: ScalePaths) -> Object:
    """A Scale does not show zero replicas, so that applying zero is a change of it: leave them out."""
    if read(obj, paths.spec) != 0:
        return obj
    out = meta.copy(obj)
    *steps, last = paths.spec
    del read(out, tuple(steps))[last]
    return out


def _patched(api: Api, request: Request, kind: str, scale: Object, content: Any) -> Object:
    schema = api.schemas.of_subresource(request.resource.subresources["scale"])
    if kind == patch.JSON:
        patched = patch.patches.apply_json(scale, content)
    elif kind == patch.MERGE:
        patched = patch.patches.apply_merge(scale, content)
    else:
        patched = patch.patches.apply_strategic(scale, content, schema)
    new, _, error = schema.conform(patched)
    if error is not None:
        raise Invalid.of("", "", [invalid("patch", request.body.decode("utf-8", "replace"), str(error))])
    return new


def read(obj: Object, path: tuple[str, ...]) -> Any:
    """Return the member at `path`, None when it is absent."""
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _scale(request: Request, obj: Object, paths: ScalePaths, *, unset: int = 0) -> Object:
    """Return the Scale of an object; `unset` stands for the replicas that a custom resource does not have."""
    absent = request.resource.custom is not None and read(obj, paths.spec) is None
    if absent and not unset:
        raise InternalError.of(f'the spec replicas field ".{".".join(paths.spec)}" does not exist')
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec, status = {}, {"replicas": read(obj, paths.status) or 0}
    if absent or read(obj, paths.spec):
        spec["replicas"] = unset if absent else read(obj, paths.spec)
    selector = read(obj, paths.selector) if paths.selector else None
    if request.resource is REPLICATIONCONTROLLERS:
        selector = {"matchLabels": selector or {}}
    text = selector if isinstance(selector, str) else selector_text(selector or {})
    if text:
        status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {k: metadata[k] for k in kept if k in metadata},
        "spec": spec,
        "status": status,
    }


def _scaled(request: Request, old: Object, scale: Object, paths: ScalePaths) -> Object:
    metadata = scale.get("metadata") or {}
    name = metadata.get("name") or request.name
    if name != request.name:
        raise BadRequest(f"the name of the object ({name}) does not match the name on the URL ({request.name})")
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if request.resource.custom is not None:
        if replicas == _UNSET:
            raise BadRequest(f'the spec replicas field ".{".".join(paths.spec)}" cannot be empty')
    elif replicas < 0:
        error = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise Invalid.of("Scale", name, [error], "autoscaling")
    new = meta.copy(old)
    holder = new
    for member in paths.spec[:-1]:
        holder = holder.setdefault(member, {})
    holder[paths.spec[-1]] = replicas
    for member in ("uid", "resourceVersion"):
        if metadata.get(member):
            new["metadata"][member] = metadata[member]
    if not metadata.get("resourceVersion"):
        new["metadata"].pop("resourceVersion", None)
    return new
