"""The loop of every change of a stored object: read, change, prepare, validate, compare and write, again on a race."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from wherry.api import managedfields, meta, strategy, validation, warnings
from wherry.api.errors import Conflict, InternalError, Invalid, NotFound
from wherry.api.field import FieldError, invalid
from wherry.api.resources import NAMESPACES, Resource
from wherry.apiserver import heavy
from wherry.apiserver.admission.plugin import UPDATE, Operation
from wherry.apiserver.api import Api, operation
from wherry.apiserver.registry import stored_form
from wherry.apiserver.request import Made, Request, Stored
from wherry.store.protocol import Mismatch, Record

Object = dict[str, Any]
Change = Callable[[Object], Awaitable[Object]]
"""Makes the wanted object of the present one, which it must not change; the result may share parts with it."""

_DURABLE_WAIT = 30.0


class View(NamedTuple):
    """What admission sees of an object in its stead (its Scale): `take` returns the object as a changed view says."""

    show: Callable[[Object], Object]
    take: Callable[[Object, Object], Object]


def stored_object(api: Api, record: Record) -> Object:
    """Return the object of a record as it is stored; shared."""
    return api.registry.obj(record)


def refuse_invalid(api: Api, resource: Resource, obj: Object, errors: list[FieldError]) -> None:
    """Raise Invalid when there are errors; it names the kind by the group that stores it."""
    if errors:
        group = api.registry.stored(resource).group
        raise Invalid.of(resource.kind, obj["metadata"].get("name") or "", errors, group)


async def durable(api: Api, record: Record) -> None:
    """Wait until a record that may still be on its way to the disk is acknowledged."""
    store = api.registry.store
    if record.revision > store.revision:
        await store.wait_revision(record.revision, _DURABLE_WAIT)


async def change(
    api: Api,
    request: Request,
    make: Change,
    *,
    dry: bool = False,
    admitted: bool = False,
    view: View | None = None,
) -> Stored | Made:
    """Apply `make` to the stored object until no other writer comes between. Raises NotFound and what `make` raises.

    `admitted`: what the client asked for has been through admission, this write is its consequence.
    """
    resource = request.resource
    key = api.registry.key(resource, request.namespace, request.name)
    told = list(request.warnings)
    while True:
        record = api.registry.store.latest(key)
        if record is None:
            raise NotFound.of(resource.plural, request.name, resource.group)
        await api.registry.ready([record], resource)
        old = api.registry.obj(record, resource)
        request.warnings[:] = told
        try:
            new = await make(old)
            return await _write_change(api, request, record, old, new, dry=dry, admitted=admitted, view=view)
        except Mismatch:
            continue
        except Conflict:
            # Who is told of a conflict reads again, and must find what was in the way.
            await durable(api, record)
            raise


async def _write_change(
    api: Api,
    request: Request,
    record: Record,
    old: Object,
    new: Object,
    *,
    dry: bool,
    admitted: bool,
    view: View | None,
) -> Stored | Made:
    resource = request.resource
    check_version(request, new, record)
    check_uid(request, new, old, key=upstream_key(request))
    if not admitted:
        asked = _asked(request, new, old, dry=dry, view=view)
        await api.admission.admit(asked)
        if view is not None:
            new = view.take(new, asked.obj or {})
        else:
            new = asked.obj or new
    new["metadata"] = dict(new["metadata"])
    new["metadata"].pop("selfLink", None)
    strategy.prepare_update(resource, new, old, request.subresource)
    new["metadata"]["resourceVersion"] = str(record.revision)
    hook = api.hooks.of(resource)
    before = hook.before if hook is not None and not request.subresource else None
    undo = before(request, new, old, dry) if before is not None else None
    try:
        size, wanted = len(request.body), new
        errors = await heavy.run(size, lambda: validation.validate_update(resource, wanted, old, request.subresource))
        if hook is not None and hook.check is not None:
            errors = hook.check(request, new, old) + errors
        refuse_invalid(api, resource, new, errors)
        if not request.subresource:
            request.warnings.extend(warnings.for_object(resource, new, old))
        elif request.subresource == "status":
            request.warnings.extend(warnings.for_status(resource, new))
        if not admitted:
            await api.admission.validate(_asked(request, new, old, dry=dry, view=view))
        if ends(resource, new):
            return await _end(api, request, record, new, dry)
        if new == old or managedfields.same_but_managed_fields(new, old):
            if undo is not None:
                undo()
            await durable(api, record)
            return Stored(record, resource)
        if dry:
            if undo is not None:
                undo()
            return Made(new, resource)
        stored = await stored_form(api.registry, resource, new)
        written = await api.registry.write(
            resource, stored, namespace=request.namespace, name=request.name, expected=record.revision
        )
    except BaseException:
        if undo is not None:
            undo()
        raise
    if hook is not None and hook.after is not None:
        await hook.after(stored_object(api, written), old)
    return Stored(written, resource)


def _asked(request: Request, new: Object, old: Object, *, dry: bool, view: View | None) -> Operation:
    if view is not None:
        new, old = view.show(new), view.show(old)
    return operation(request, UPDATE, obj=new, old=old, dry_run=dry)


async def _end(api: Api, request: Request, record: Record, new: Object, dry: bool) -> Made:
    """The last finalizer is gone: the object goes; watchers see it as it was, the writer as it wanted it."""
    if not dry:
        await remove(api, request, record)
    return Made(new, request.resource)


async def remove(api: Api, request: Request, record: Record) -> Record:
    """Delete a stored object and return its last record. Raises Mismatch."""
    last = dict(api.registry.obj(record))
    last["metadata"] = dict(last["metadata"])
    gone = await api.registry.write(
        request.resource, last, namespace=request.namespace, name=request.name, expected=record.revision, delete=True
    )
    hook = api.hooks.of(request.resource)
    if hook is not None and hook.after is not None:
        await hook.after(None, last)
    return gone


def ends(resource: Resource, obj: Object) -> bool:
    """Tell whether nothing holds an object any longer whose deletion was requested."""
    metadata = obj["metadata"]
    if (
        not metadata.get("deletionTimestamp")
        or metadata.get("finalizers")
        or metadata.get("deletionGracePeriodSeconds")
    ):
        return False
    return resource is not NAMESPACES or not (obj.get("spec") or {}).get("finalizers")


def check_version(request: Request, new: Object, record: Record) -> None:
    """Refuse an object of another resourceVersion than the stored one, or without where one is needed."""
    resource = request.resource
    given = new["metadata"].get("resourceVersion") or ""
    if given in ("", "0"):
        whole = request.subresource != "scale"  # a Scale without a version leaves its object the one it has
        if request.verb == "update" and whole and not strategy.allows_unconditional_update(resource):
            error = invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise Invalid.of(resource.plural, request.name, [error], resource.group)
        return
    if given == str(record.revision):
        return
    if not (given.isascii() and given.isdigit()):
        refusal = InternalError(f'strconv.ParseUint: parsing "{given}": invalid syntax')
        refusal.status_reason = ""
        raise refusal
    raise Conflict.modified(resource.plural, request.name, resource.group)


def upstream_key(request: Request) -> str:
    """Return the key under which upstream stores an object; it occurs in messages."""
    resource = request.resource
    group = resource.group if resource.custom is not None else ""
    return "/".join(filter(None, ("/registry", group, resource.plural, request.namespace, request.name)))


def check_uid(request: Request, new: Object, old: Object | None, *, key: str) -> None:
    """Refuse an object of another UID than the stored one; of a patched one validation does. Raises Conflict."""
    if request.verb == "patch":
        return
    given, present = new["metadata"].get("uid") or "", meta.uid(old) if old is not None else ""
    if given and given != present:
        resource = request.resource
        raise Conflict.of(
            resource.plural,
            request.name,
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {given}, UID in object meta: {present}",
            resource.group,
        )
