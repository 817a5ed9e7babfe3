"""PATCH of an object or of a subresource that is a view of it: JSON, merge, strategic merge, server-side apply."""

from typing import Any

import orjson

from wherry.api import defaults, managedfields, schema
from wherry.api import patch as patches
from wherry.api.errors import BadRequest, Conflict, InternalError, Invalid, NotFound, UnsupportedMediaType
from wherry.api.field import forbidden, invalid, required
from wherry.api.resources import TABLE, Resource
from wherry.api.schema import DecodeError
from wherry.api.schema.decode import go_kind
from wherry.apiserver import heavy, restoring, tracking
from wherry.apiserver.api import Api
from wherry.apiserver.decode import SCHEME, field_validation
from wherry.apiserver.extensions.decode import refuse_type
from wherry.apiserver.handlers import create, update
from wherry.apiserver.handlers.writing import change
from wherry.apiserver.query import boolean, write_options
from wherry.apiserver.request import Made, Request, Stored
from wherry.apiserver.versions import KindVersions, settled
from wherry.apiserver.warnings import of_decoding
from wherry.util import clock

Object = dict[str, Any]

JSON, MERGE = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
_TYPES = (JSON, MERGE, STRATEGIC, APPLY)
_CUSTOM_TYPES = (JSON, MERGE, APPLY)
_UNREADABLE = {JSON: "error decoding patch: ", MERGE: "error decoding patch: ", APPLY: "error decoding YAML: "}


async def handle(api: Api, request: Request) -> Stored | Made:
    """Patch the stored object; server-side apply may create it."""
    kind = request.content_type.partition(";")[0].strip()
    dry, mode = options_of(request, kind), field_validation(request.params)
    content, duplicates = await heavy.run(len(request.body), lambda: body_of(request, kind))
    if kind == APPLY:
        if mode == "Warn":
            request.warnings.extend(of_decoding(duplicates))
        return await _apply(api, request, content, dry=dry, refused=duplicates if mode == "Strict" else [])

    def patched(old: Object) -> Object:
        new = conformed(
            api, request, _patched(api, request.resource, kind, old, content), mode=mode, duplicates=duplicates
        )
        _finish(request, new)
        return new

    async def make(old: Object) -> Object:
        new = await heavy.run(len(request.body), lambda: patched(old))
        await tracking.update(api, request, old, new)
        return new

    return await change(api, request, make, dry=dry)


def options_of(request: Request, kind: str) -> bool:
    """Check the media type `kind` and the options of a patch; tell whether it is a dry run.

    Raises UnsupportedMediaType, Invalid.
    """
    _check_type(request.resource, kind)
    errors = []
    if kind != APPLY and "force" in request.params:
        errors.append(forbidden("force", "may not be specified for non-apply patch"))
    if kind == APPLY and not request.params.get("fieldManager"):
        errors.append(required("fieldManager", "is required for apply patch"))
    return write_options(request.params, "PatchOptions", first=errors)


def _check_type(resource: Resource, kind: str) -> None:
    """Refuse other media types than those of patches; custom resources have no patch strategies."""
    if resource.custom is None:
        if kind not in _TYPES:
            raise UnsupportedMediaType("415: Unsupported Media Type", {})
    elif kind not in _CUSTOM_TYPES:
        accepted = ", ".join(_CUSTOM_TYPES)
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        )


def body_of(request: Request, kind: str) -> tuple[Any, list[str]]:
    """Return the parsed patch and what a strict decoder says of it. Raises BadRequest."""
    if request.given is not None:
        return request.given, []
    try:
        if kind == APPLY:
            return schema.decode_apply(request.body)
        content, problems = schema.decode_patch(request.body)
        if kind == JSON:
            strange = [f'unknown field "{path}"' for path in patches.strange_members(content)]
            problems = [f"json patch {problem}" for problem in schema.in_order(request.body, problems + strange)]
        return content, problems
    except DecodeError as error:
        raise BadRequest(f"{_UNREADABLE.get(kind, '')}{error}") from None


def _patched(api: Api, resource: Resource, kind: str, old: Object, content: Any) -> Object:
    if kind == JSON:
        return patches.apply_json(old, content)
    if kind == MERGE:
        return patches.apply_merge(old, content)
    return patches.apply_strategic(old, content, api.schema(resource))


def conformed(api: Api, request: Request, patched: Object, *, mode: str, duplicates: list[str]) -> Object:
    """Bring a patched object into the form of its schema, defaulted. Raises Invalid, BadRequest."""
    resource = request.resource
    if resource.custom is not None:
        if not patched.get("kind"):
            text = orjson.dumps(patched, option=orjson.OPT_SORT_KEYS).decode()
            raise Invalid.of("", "", [invalid("patch", text, f"Object 'Kind' is missing in '{text}'")])
        if not patched.get("apiVersion"):
            raise InternalError.of("Object 'apiVersion' is missing in 'object has no apiVersion field'")
        refuse_type(patched, resource.api_version, resource.kind)
    new = of_schema(request, api.schema(resource), patched, mode=mode, duplicates=duplicates)
    defaults.default(resource, new)
    return new


def of_schema(
    request: Request, type_schema: schema.TypeSchema, patched: Object, *, mode: str, duplicates: list[str]
) -> Object:
    """Bring a patched object into the form of a schema; `duplicates` and unknown fields are told as `mode` says.

    Raises Invalid.
    """
    wanted = type_schema.api_version, type_schema.kind
    is_strategic = request.content_type.startswith(STRATEGIC)
    text = None if is_strategic else _other_type(patched, *wanted)
    new, unknown, error = type_schema.conform(patched)
    if text is None and error is not None:
        text = restoring.error_of(str(error)) if is_strategic else str(error)
    if text is not None:
        raise Invalid.of("", "", [invalid("patch", _shown(request, patched), text)])
    problems = duplicates + [f'unknown field "{path}"' for path in unknown]
    if problems and mode == "Strict":
        text = f"strict decoding error: {', '.join(problems)}"
        raise Invalid.of("", "", [invalid("patch", _shown(request, patched), text)])
    if mode == "Warn":
        request.warnings.extend(of_decoding(problems))
    new["apiVersion"], new["kind"] = wanted
    new["metadata"] = dict(new.get("metadata") or {})
    return new


def _other_type(patched: Object, api_version: str, kind: str) -> str | None:
    """Tell what is wrong with a changed type; strategic patches are read by what they are for, whatever they say."""
    version, given = patched.get("apiVersion") or api_version, patched.get("kind") or kind
    for member, value in (("apiVersion", version), ("kind", given)):
        if not isinstance(value, str):
            why = f"json: cannot unmarshal {go_kind(value)} into Go struct field .{member}"
            return f"couldn't get version/kind; json parse error: {why} of type string"
    if (version, given) == (api_version, kind):
        return None
    if TABLE.for_object(version, given) is None:
        return f'no kind "{given}" is registered for version "{version}" in scheme {SCHEME}'
    return f"converting ({version.rpartition('/')[2]}.{given}) to (core.{kind}): unknown conversion"


def _shown(request: Request, patched: Object) -> str:
    """Return what errors show: a strategic patch as the Go map that it is by then, of others what they made."""
    if request.content_type.startswith(STRATEGIC):
        content, _ = body_of(request, STRATEGIC)
        return restoring.shown(content)
    return orjson.dumps(patched, option=orjson.OPT_SORT_KEYS).decode()


def _finish(request: Request, new: Object) -> None:
    update.check_name(request, new["metadata"])
    create.check_namespace(request, new["metadata"])
    create.drop_duplicate_owners(request, new["metadata"])


async def _apply(api: Api, request: Request, config: Object, *, dry: bool, refused: list[str]) -> Stored | Made:
    resource = request.resource
    force = boolean(request.params, "force")
    if not isinstance(config, dict):
        raise BadRequest("error decoding YAML: apply configuration must be an object")

    def merged(live: Object | None, versions: KindVersions) -> Object:
        applied = managedfields.apply(
            live,
            config,
            manager=request.params["fieldManager"],
            force=force,
            operation_time=clock.timestamp(),
            api_version=resource.api_version,
            subresource=request.subresource,
            type_schema=api.schema(resource),
            reset=managedfields.reset_fields(resource, request.subresource),
            versions=versions,
        )
        if refused:
            raise BadRequest(f"error strict decoding YAML: error converting YAML to JSON: {refused[0]}")
        new, _, error = api.schema(resource).conform(applied)
        if error is not None:  # what the schema of managed fields takes for a union need not be one of its members
            raise BadRequest(f"failed to convert new typed object to object: {error}")
        new["metadata"] = dict(new["metadata"])
        if not new["metadata"].get("name"):
            reason = "undeterminable: name must be provided"
            raise BadRequest(f"the name of the object ({request.name} based on URL) was {reason}")
        _finish(request, new)
        defaults.default(resource, new, applied=True)
        return new

    async def make(live: Object | None) -> Object:
        return await settled(api, resource, len(request.body), lambda versions: merged(live, versions))

    try:
        return await change(api, request, make, dry=dry)
    except NotFound:
        if request.subresource or api.registry.record(resource, request.namespace, request.name) is not None:
            raise
    new = await make(None)
    uid = new["metadata"].get("uid")
    if uid:
        mismatch = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise Conflict.of(resource.plural, request.name, mismatch, resource.group)
    new["metadata"].pop("resourceVersion", None)
    return await create.create(api, request, new, dry=dry, applied=True)
