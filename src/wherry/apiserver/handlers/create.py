"""POST to a collection."""

from functools import partial
from typing import Any

import orjson

from wherry.api import defaults, meta, newpods, strategy, validation, warnings
from wherry.api.errors import AlreadyExists, BadRequest, Forbidden, Invalid, StatusError
from wherry.api.field import FieldError, required
from wherry.api.resources import PODS, Resource
from wherry.apiserver import heavy, names, tracking
from wherry.apiserver.admission.plugin import CREATE, Operation
from wherry.apiserver.api import Api, operation
from wherry.apiserver.decode import decode, options_of
from wherry.apiserver.handlers.writing import refuse_invalid, stored_object
from wherry.apiserver.registry import stored_form
from wherry.apiserver.request import Made, Request, Stored
from wherry.store.protocol import Mismatch, Record
from wherry.util import clock

Object = dict[str, Any]

_ATTEMPTS = 8
_COMMIT_PATIENCE = 5.0


async def handle(api: Api, request: Request) -> Stored | Made:
    """Create the object of the body and answer with it."""
    dry = options_of(request, "CreateOptions")

    obj = await heavy.run(len(request.body), partial(_read, api, request))
    return await create(api, request, obj, dry=dry)


def _read(api: Api, request: Request) -> Object:
    resource = request.resource
    conform = partial(api.drafts.conform, request) if resource is PODS else None
    obj = decode(request, api.schema(resource), api_version=resource.api_version, kind=resource.kind, conform=conform)
    if conform is None:
        defaults.default(resource, obj)
    return obj


async def create(api: Api, request: Request, obj: Object, *, dry: bool = False, applied: bool = False) -> Stored | Made:
    """Create `obj`, decoded and defaulted; it belongs to this function. Raises StatusError.

    `applied`: server-side apply made it, with its managed fields.
    """
    resource = request.resource
    metadata = obj["metadata"]
    check_namespace(request, metadata)
    generated = bool(metadata.get("generateName")) and not metadata.get("name")
    fill(metadata)
    if generated and resource is not PODS:
        defaults.default(resource, obj)  # some defaults are made of the name
    request.name = metadata.get("name") or ""
    if not request.name and "generateName" not in metadata:
        error = required("metadata.name", "name or generateName is required")
        raise Invalid.of(resource.kind, "", [error], resource.group)
    drop_duplicate_owners(request, metadata)
    if not applied:
        tracking.create(api, request, obj)
    if resource.custom is not None and "create" not in resource.verbs:
        raise _terminating(request)
    asked = operation(request, CREATE, obj=obj, dry_run=dry)
    await api.admission.admit(asked)
    obj = asked.obj or obj
    if generated:
        return await _store_generated(api, request, obj, asked)
    return await _store(api, request, obj, asked)


def _terminating(request: Request) -> Forbidden:
    resource, name = request.resource, request.name
    return Forbidden(
        f'{resource.group_resource} "{name}" is forbidden: create not allowed while custom resource definition is '
        "terminating",
        {"name": name, "group": resource.group, "kind": resource.plural},
    )


def check_namespace(request: Request, metadata: Object) -> None:
    """Put an object into the namespace of the path. Raises BadRequest when it names another."""
    if not request.resource.namespaced:
        metadata.pop("namespace", None)
    elif metadata.setdefault("namespace", request.namespace) != request.namespace:
        if metadata["namespace"]:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = request.namespace


NOT_GIVEN = ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds")
"""Members of metadata that nobody gives a new object."""


def fill(metadata: Object) -> None:
    """Give a new object its UID, creation time and, where a base is given, its name."""
    metadata["uid"] = names.new_uid()
    metadata["creationTimestamp"] = clock.timestamp()
    for member in NOT_GIVEN:
        metadata.pop(member, None)
    if not metadata.get("name"):
        metadata.pop("name", None)
        if metadata.get("generateName"):
            metadata["name"] = names.generate(metadata["generateName"])


def drop_duplicate_owners(request: Request, metadata: Object) -> None:
    """Keep the first of equal owner references, with a warning."""
    owners = metadata.get("ownerReferences")
    if not owners or len(owners) < 2:
        return
    kept: dict[bytes, Object] = {}
    doubled: dict[str, None] = {}
    for owner in owners:
        if kept.setdefault(orjson.dumps(owner, option=orjson.OPT_SORT_KEYS), owner) is not owner:
            doubled[owner.get("uid") or ""] = None
    if doubled:
        metadata["ownerReferences"] = list(kept.values())
        request.warnings.append(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and "
            "may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
            + ", ".join(doubled)
        )


async def _store_generated(api: Api, request: Request, obj: Object, asked: Operation) -> Stored | Made:
    """Another object may have the generated name: try others."""
    base = obj["metadata"]["generateName"]
    pristine = meta.copy(obj)
    for _ in range(_ATTEMPTS - 1):
        try:
            return await _store(api, request, obj, asked)
        except AlreadyExists:
            obj = meta.copy(pristine)
            obj["metadata"]["name"] = request.name = names.generate(base)
    try:
        return await _store(api, request, obj, asked)
    except AlreadyExists as error:
        # Another attempt of the client may find a name that is free.
        details = {**(error.details or {}), "retryAfterSeconds": 1}
        text = f"{error.message}, the server was not able to generate a unique name for the object"
        raise AlreadyExists(text, details) from None


async def _store(api: Api, request: Request, obj: Object, asked: Operation) -> Stored | Made:
    """`asked` is what the mutating plugins were asked about."""
    resource, dry = request.resource, asked.dry_run
    size = len(request.body)
    examined = await heavy.run(size, lambda: newpods.examine(obj)) if resource is PODS else None
    if examined is None:
        request.warnings.extend(warnings.for_given(resource, obj))
        strategy.prepare_create(resource, obj)
    hook = api.hooks.of(resource)
    undo = hook.before(request, obj, None, dry) if hook is not None and hook.before is not None else None
    try:
        if examined is None:
            examined = await heavy.run(size, lambda: _examine(resource, obj))
        errors, found = examined
        if hook is not None and hook.check is not None:
            errors = hook.check(request, obj, None) + errors
        request.warnings.extend(found)
        refuse_invalid(api, resource, obj, errors)
        asked.obj, asked.name = obj, request.name
        await api.admission.validate(asked)
        strategy.of(resource).stored(obj)
        if not dry:
            _drop_version(obj["metadata"])
        name = obj["metadata"]["name"]
        key = api.registry.key(resource, request.namespace, name)
        existing = api.registry.store.latest(key)
        if existing is not None:
            # Who is told that it exists must find it: what is in the way may still be on its way to the disk.
            await api.registry.store.wait_revision(existing.revision, _COMMIT_PATIENCE)
            raise exists(api, resource, name, existing)
        if dry:
            if undo is not None:
                undo()
            return Made(obj, resource, 201)
        try:
            stored = await stored_form(api.registry, resource, obj)
            record = await api.registry.write(resource, stored, namespace=request.namespace, name=name, expected=0)
        except Mismatch as mismatch:
            if mismatch.current is not None:
                await api.registry.store.wait_revision(mismatch.current.revision, _COMMIT_PATIENCE)
            raise exists(api, resource, name, mismatch.current) from None
    except BaseException:
        if undo is not None:
            undo()
        raise
    if hook is not None and hook.after is not None:
        await hook.after(stored_object(api, record), None)
    return Stored(record, resource, 201)


def _drop_version(metadata: Object) -> None:
    """A version that is none is passed over, as upstream's storage does; what is not stored is not asked for any."""
    version = metadata.pop("resourceVersion", None) or ""
    if version.strip("0").isdecimal():
        error = StatusError("resourceVersion should not be set on objects to be created")
        error.status_reason = ""
        raise error


def _examine(resource: Resource, obj: Object) -> tuple[list[FieldError], list[str]]:
    errors = validation.validate_create(resource, obj)
    return errors, [] if errors else warnings.for_object(resource, obj)


def exists(api: Api, resource: Resource, name: str, record: Record | None) -> AlreadyExists:
    """Return the refusal of a second object of a name; it says when the first is being deleted."""
    error = AlreadyExists.of(resource.plural, name, group=resource.group)
    if record is not None and meta.is_deleting(api.registry.obj(record)):
        error.message = f"object is being deleted: {error.message}"
    return error
