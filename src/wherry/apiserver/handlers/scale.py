"""GET, PUT and PATCH of ``scale``: the replicas of whatever has them."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from wherry.api import managedfields, meta
from wherry.api.errors import BadRequest, Conflict, InternalError, Invalid, StatusError
from wherry.api.field import invalid
from wherry.api.resources import REPLICATIONCONTROLLERS
from wherry.api.schema import TypeSchema
from wherry.apiserver import heavy
from wherry.apiserver.api import Api
from wherry.apiserver.decode import decode, field_validation, options_of
from wherry.apiserver.handlers import create, get, patch, update
from wherry.apiserver.handlers.writing import View, change
from wherry.apiserver.query import boolean
from wherry.apiserver.request import Made, Request, Stored
from wherry.apiserver.scales import ScalePaths
from wherry.apiserver.selectors import selector_text
from wherry.apiserver.table import CUSTOM_SCALES, SCALES
from wherry.apiserver.versions import KindVersions
from wherry.util import clock

Object = dict[str, Any]


_DEFAULT = ScalePaths()
_UNSET = -(1 << 31)
"""What a patch of a custom resource's Scale finds where there are no replicas; to leave it there is an error."""


class Wanted(NamedTuple):
    """What a request wants of a Scale: `kind` is the media type of a patch, empty for an update."""

    kind: str
    content: Any
    duplicates: list[str]
    schema: TypeSchema


async def handle(api: Api, request: Request) -> Made:
    """Read or change the scale of an object."""
    paths = api.scales.get(request.resource, _DEFAULT)
    form = SCALES if request.resource.custom is None else CUSTOM_SCALES
    if request.verb == "get":
        found = await get.handle(api, request)
        return Made(_scale(request, api.registry.obj(found.record, request.resource), paths), form)
    kind = request.content_type.partition(";")[0].strip()
    updates = request.verb == "update"
    duplicates: list[str] = []
    schema = api.schemas.of_subresource(request.resource.subresources["scale"])
    if updates:
        dry = options_of(request, "UpdateOptions")
        given = decode(request, schema, api_version="autoscaling/v1", kind="Scale")
        _check_identity(request, given)
    else:
        dry = patch.options_of(request, kind)
        given, duplicates = patch.body_of(request, kind)
    wanted = Wanted("" if updates else kind, given, duplicates, schema)

    async def make(old: Object) -> Object:
        where = _versions_of(KindVersions(api, request.resource))
        shown = _scale(request, old, paths, unset=_UNSET)
        shown["metadata"]["managedFields"] = managedfields.to_scale(old["metadata"].get("managedFields"), where)
        scale = await heavy.run(len(request.body), lambda: _changed(request, shown, wanted))
        new = _scaled(request, old, scale, paths)
        entries = managedfields.to_object(
            old["metadata"].get("managedFields"),
            scale["metadata"].get("managedFields"),
            where,
            api_version=request.resource.api_version,
        )
        new["metadata"].pop("managedFields", None)
        if entries:
            new["metadata"]["managedFields"] = entries
        return new

    view = View(lambda obj: _scale(request, obj, paths, unset=_UNSET), partial(_taken, paths=paths))
    written = await change(api, request, make, dry=dry, view=view)
    obj = api.registry.obj(written.record, request.resource) if isinstance(written, Stored) else written.obj
    return Made(_scale(request, obj, paths), form)


def _versions_of(versions: KindVersions) -> managedfields.ReplicasPaths:
    def path(api_version: str) -> tuple[str, ...] | None:
        resource = versions.resource(api_version)
        if resource is None or resource.custom is None:
            return None if resource is None else _DEFAULT.spec
        return () if resource.custom.scale is None else ScalePaths.of(resource.custom.scale).spec

    return path


def _changed(request: Request, shown: Object, wanted: Wanted) -> Object:
    """Return the Scale that the request wants in place of `shown`, with managed fields of its own."""
    tracked: dict[str, Any] = {
        "operation_time": clock.timestamp(),
        "api_version": wanted.schema.api_version,
        "subresource": "scale",
        "type_schema": wanted.schema,
    }
    if wanted.kind == patch.APPLY:
        return _applied(request, shown, wanted.content, tracked)
    if wanted.kind:
        patched = _patched(wanted, shown)
        mode = field_validation(request.params)
        scale = patch.of_schema(request, wanted.schema, patched, mode=mode, duplicates=wanted.duplicates)
        _check_identity(request, scale)
    else:
        scale = {**wanted.content, "metadata": dict(wanted.content["metadata"])}
    entries = managedfields.track_update(shown, scale, manager=request.manager, **tracked)
    scale["metadata"]["managedFields"] = entries
    return scale


def _applied(request: Request, shown: Object, config: Any, tracked: dict[str, Any]) -> Object:
    """Apply a Scale; of a custom resource upstream refuses each that changes anything, see `_unconverted`."""
    if not isinstance(config, dict):
        raise BadRequest("error decoding YAML: apply configuration must be an object")
    custom = request.resource.custom is not None
    if custom and not shown["metadata"]["managedFields"]:
        raise _unconverted("failed to create manager for existing fields: failed to convert live object", "/")
    manager, force = request.params["fieldManager"], boolean(request.params, "force")
    scale = managedfields.apply(shown, config, manager=manager, force=force, **tracked)
    if custom and not managedfields.same_but_managed_fields(_untracked(scale), _untracked(shown)):
        metadata = config.get("metadata") or {}
        name = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
        raise _unconverted("failed to convert new object", name)
    _check_identity(request, scale)
    return scale


def _untracked(scale: Object) -> Object:
    return {**scale, "metadata": {**scale["metadata"], "managedFields": []}}


def _unconverted(what: str, name: str) -> StatusError:
    """Return upstream's refusal: the converter of the custom resource is asked for the version of its Scale."""
    problem = "request to convert CR to an invalid group/version: autoscaling/v1"
    refusal = StatusError(f"{what} ({name}; autoscaling/v1, Kind=Scale) to proper version: {problem}")
    refusal.status_reason = ""
    return refusal


def _check_identity(request: Request, scale: Object) -> None:
    scale["metadata"] = dict(scale.get("metadata") or {})
    update.check_name(request, scale["metadata"])
    create.check_namespace(request, scale["metadata"])


def _patched(wanted: Wanted, scale: Object) -> Object:
    if wanted.kind == patch.JSON:
        return patch.patches.apply_json(scale, wanted.content)
    if wanted.kind == patch.MERGE:
        return patch.patches.apply_merge(scale, wanted.content)
    return patch.patches.apply_strategic(scale, wanted.content, wanted.schema)


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
    metadata = scale["metadata"]
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if request.resource.custom is not None:
        if replicas == _UNSET:
            raise BadRequest(f'the spec replicas field ".{".".join(paths.spec)}" cannot be empty')
    elif replicas < 0:
        error = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise Invalid.of("Scale", request.name, [error], "autoscaling")
    elif request.verb == "patch":
        _check_uid(request, old, metadata.get("uid") or "")
    new = _with_replicas(old, replicas, paths)
    if request.verb == "update" and metadata.get("uid"):
        new["metadata"]["uid"] = metadata["uid"]
    if metadata.get("resourceVersion"):
        new["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    else:
        new["metadata"].pop("resourceVersion", None)
    return new


def _taken(obj: Object, scale: Object, *, paths: ScalePaths) -> Object:
    """Return an object with the replicas of its Scale, which admission may have changed."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    return obj if (read(obj, paths.spec) or 0) == replicas else _with_replicas(obj, replicas, paths)


def _with_replicas(obj: Object, replicas: int, paths: ScalePaths) -> Object:
    new = meta.copy(obj)
    holder = new
    for member in paths.spec[:-1]:
        holder = holder.setdefault(member, {})
    holder[paths.spec[-1]] = replicas
    return new


def _check_uid(request: Request, old: Object, given: str) -> None:
    """Refuse a patched Scale of another UID than its object's. Raises Conflict."""
    present = meta.uid(old)
    if given and given != present:
        failed = f"Precondition failed: UID in precondition: {given}, UID in object meta: {present}"
        resource = request.resource
        raise Conflict.of(f"{resource.plural}/scale", request.name, failed, resource.group)
