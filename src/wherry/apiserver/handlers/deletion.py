"""What deleting one object does: options, preconditions, grace periods, finalizers (apiserver ``registry/generic``)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from wherry.api import meta
from wherry.api.errors import Conflict, NotFound
from wherry.api.resources import (
    CUSTOMRESOURCEDEFINITIONS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICATIONCONTROLLERS,
    Resource,
    builtin,
)
from wherry.apiserver.api import Api
from wherry.apiserver.extensions.names import FINALIZER, terminating
from wherry.apiserver.handlers.writing import durable, remove
from wherry.apiserver.request import Request
from wherry.store.protocol import Mismatch, Record
from wherry.util import clock

Object = dict[str, Any]

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_POLICIES = {"Orphan": ORPHAN, "Foreground": FOREGROUND, "Background": ""}

_JOBS = builtin("batch", "v1", "jobs")
_ORPHANS_BY_DEFAULT = frozenset({REPLICATIONCONTROLLERS, _JOBS})
_NO_COLLECTION = frozenset({EVENTS, builtin("events.k8s.io", "v1", "events")})

_ANSWERS_WITH_OBJECT = frozenset(
    builtin(group, "v1", plural)
    for group, plurals in {
        "": (
            "podtemplates",
            "pods",
            "services",
            "serviceaccounts",
            "resourcequotas",
            "persistentvolumes",
            "persistentvolumeclaims",
        ),
        "storage.k8s.io": ("csinodes", "csidrivers", "storageclasses", "volumeattachments", "volumeattributesclasses"),
        "resource.k8s.io": ("deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"),
    }.items()
    for plural in plurals
)


@dataclass(slots=True)
class DeleteOptions:
    """How to delete; None means not said."""

    grace: int | None = None
    uid: str | None = None
    version: str | None = None
    orphan: bool | None = None
    policy: str | None = None

    def told(self, grace: int | None) -> Object:
        """Return them as their object has them, with a grace period that may have been worked out."""
        conditions = {"uid": self.uid, "resourceVersion": self.version}
        members = {
            "gracePeriodSeconds": grace,
            "preconditions": {name: value for name, value in conditions.items() if value is not None} or None,
            "orphanDependents": self.orphan,
            "propagationPolicy": self.policy,
        }
        return {name: value for name, value in members.items() if value is not None}


@dataclass(slots=True)
class Outcome:
    """What became of an object: `deleted` (its last record) or marked. `obj` is what is answered, shared."""

    record: Record | None
    obj: Object
    deleted: bool


def answers_with_object(resource: Resource) -> bool:
    """Tell whether deleting answers with the object and not with a Status."""
    return resource in _ANSWERS_WITH_OBJECT


async def delete(
    api: Api,
    request: Request,
    options: DeleteOptions,
    *,
    dry: bool = False,
    check: Callable[[Object], Any] | None = None,
) -> Outcome:
    """Delete the object that `request` names, or mark it. `check` admits it (awaited, may raise StatusError)."""
    resource = request.resource
    key = api.registry.key(resource, request.namespace, request.name)
    while True:
        record = api.registry.store.latest(key)
        if record is None:
            raise NotFound.of(resource.plural, request.name, resource.group)
        old = api.registry.obj(record)
        try:
            check_preconditions(resource, old, options, record)
        except Conflict:
            await durable(api, record)
            raise
        await api.registry.ready([record], resource)
        if check is not None:
            await check(api.registry.obj(record, resource))
        try:
            return await _delete(api, request, record, old, options, dry)
        except Mismatch:
            continue


def check_preconditions(resource: Resource, obj: Object, options: DeleteOptions, record: Record) -> None:
    """Refuse another object than the one that was meant. Raises Conflict."""
    name = obj["metadata"]["name"]
    if options.uid is not None and options.uid != meta.uid(obj):
        raise Conflict.of(
            resource.kind,
            name,
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({meta.uid(obj)}). "
            "The object might have been deleted and then recreated",
            resource.group,
        )
    if options.version is not None and options.version != str(record.revision):
        raise Conflict.of(
            resource.kind,
            name,
            f"the ResourceVersion in the precondition ({options.version}) does not match the ResourceVersion in record "
            f"({record.revision}). The object might have been modified",
            resource.group,
        )


async def _delete(
    api: Api, request: Request, record: Record, old: Object, options: DeleteOptions, dry: bool
) -> Outcome:
    resource = request.resource
    marked = _marked(resource, old, options)
    if marked is None:  # deletion is already under way and this request does not hasten it
        await durable(api, record)
        return Outcome(record, api.registry.obj(record, resource), False)
    if marked is not old:
        now = marked["metadata"].get("deletionGracePeriodSeconds") == 0 and not marked["metadata"].get("finalizers")
        if dry:
            return Outcome(None, marked, now)
        if marked == old:
            await durable(api, record)
        else:
            record = await api.registry.write(
                resource, marked, namespace=request.namespace, name=request.name, expected=record.revision
            )
            hook = api.hooks.of(resource)
            if hook is not None and hook.after is not None:
                await hook.after(api.registry.obj(record), old)
        if not now or resource is NAMESPACES:
            return Outcome(record, api.registry.obj(record, resource), False)
        if not dry:
            return await _finish(api, request, record)
    if dry:
        return Outcome(None, old, True)
    gone = await remove(api, request, record)
    return Outcome(gone, api.registry.obj(gone, resource), True)


async def _finish(api: Api, request: Request, marked: Record) -> Outcome:
    """Delete an object that is marked to go at once.

    Others see the mark: a kubelet that deletes the pod first has done what was asked, one that writes the status holds
    up nothing.
    """
    registry, resource = api.registry, request.resource
    key, uid = registry.key(resource, request.namespace, request.name), meta.uid(registry.obj(marked))
    record = marked
    while True:
        try:
            gone = await remove(api, request, record)
            return Outcome(gone, registry.obj(gone, resource), True)
        except Mismatch:
            latest = registry.store.latest(key)
        if latest is None or meta.uid(registry.obj(latest)) != uid:
            return Outcome(record, registry.obj(record, resource), True)
        record = latest
        if registry.obj(record)["metadata"].get("finalizers"):
            return Outcome(record, registry.obj(record, resource), False)


def _marked(resource: Resource, old: Object, options: DeleteOptions) -> Object | None:
    """Return `old` marked as being deleted, `old` itself when it can go at once, None when nothing is to be done."""
    if resource is NAMESPACES:
        return _marked_namespace(old, options)
    if resource is CUSTOMRESOURCEDEFINITIONS and not old["metadata"].get("deletionTimestamp"):
        return _marked_definition(old)
    new = {**old, "metadata": dict(old["metadata"])}
    metadata = new["metadata"]
    graceful = False
    if resource is PODS:
        state = _grace(metadata, old, options)
        if state is None:
            return None
        graceful = state
    finalizers = wanted_finalizers(resource, metadata.get("finalizers") or [], options)
    _set_finalizers(metadata, finalizers)
    if graceful:
        return new
    if not finalizers:
        return old
    _mark(metadata)
    return new


def _mark(metadata: Object) -> None:
    if metadata.get("deletionGracePeriodSeconds") is None and metadata.get("generation"):
        metadata["generation"] += 1
    now = clock.timestamp()
    stamp = metadata.get("deletionTimestamp")
    if not stamp or clock.parse(stamp) > clock.now():
        metadata["deletionTimestamp"] = now
    metadata["deletionGracePeriodSeconds"] = 0


def _grace(metadata: Object, pod: Object, options: DeleteOptions) -> bool | None:
    """Set the grace period of a pod. True: set (0 to go at once); False: goes without; None: already under way."""
    if metadata.get("deletionTimestamp"):
        current = metadata.get("deletionGracePeriodSeconds")
        if not current:  # also 0: whoever marked it so did not come to delete it
            return False
        if options.grace is None or options.grace >= current:
            return None
        started = clock.parse(metadata["deletionTimestamp"]) - timedelta(seconds=current)
        metadata["deletionTimestamp"] = clock.timestamp(started + timedelta(seconds=options.grace))
        metadata["deletionGracePeriodSeconds"] = options.grace
        return True
    period = grace_period(pod, options)
    metadata["deletionTimestamp"] = clock.timestamp(clock.now() + timedelta(seconds=period))
    metadata["deletionGracePeriodSeconds"] = period
    if metadata.get("generation"):
        metadata["generation"] += 1
    return True


def grace_period(pod: Object, options: DeleteOptions) -> int:
    """Return the seconds that a pod has to end which is not being deleted yet."""
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
    period: int = options.grace if options.grace is not None else spec.get("terminationGracePeriodSeconds", 30)
    if not spec.get("nodeName") or phase in ("Failed", "Succeeded"):
        return 0
    return period if period >= 0 else 1


def wanted_finalizers(resource: Resource, present: list[str], options: DeleteOptions) -> list[str]:
    """Return the finalizers with those of the garbage collector that the options, or the kind's default, ask for."""
    if resource in _NO_COLLECTION:
        return present
    others = [f for f in present if f not in (ORPHAN, FOREGROUND)]
    wanted = _collector(resource, present, options)
    if wanted in present and present.count(ORPHAN) + present.count(FOREGROUND) == 1:
        return present
    return [*others, wanted] if wanted else others


def _collector(resource: Resource, present: list[str], options: DeleteOptions) -> str:
    if options.orphan is not None:
        return ORPHAN if options.orphan else ""
    if options.policy is not None:
        return _POLICIES[options.policy]
    for finalizer in present:
        if finalizer in (ORPHAN, FOREGROUND):
            return finalizer
    return ORPHAN if resource in _ORPHANS_BY_DEFAULT else ""


def _set_finalizers(metadata: Object, finalizers: list[str]) -> None:
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _marked_namespace(old: Object, options: DeleteOptions) -> Object:
    metadata = dict(old["metadata"])
    if metadata.get("deletionTimestamp"):
        spec = old.get("spec") or {}
        if spec.get("finalizers") or metadata.get("finalizers"):
            return {**old}
        return old
    metadata["deletionTimestamp"] = clock.timestamp()
    _set_finalizers(metadata, wanted_finalizers(NAMESPACES, metadata.get("finalizers") or [], options))
    return {**old, "metadata": metadata, "status": {**(old.get("status") or {}), "phase": "Terminating"}}


def _marked_definition(old: Object) -> Object:
    """Definitions are marked in a way of their own: their objects go first, whatever else is asked for."""
    metadata = dict(old["metadata"])
    metadata["deletionTimestamp"] = now = clock.timestamp()
    if FINALIZER not in (metadata.get("finalizers") or ()):
        metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
    pending = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    return {
        **old,
        "metadata": metadata,
        "status": terminating(old, "True", "InstanceDeletionPending", pending, now=now),
    }
