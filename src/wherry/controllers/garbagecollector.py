"""The garbage collector: deletes objects whose owners are gone, and carries out foreground and orphan deletion.

Watches the metadata of every resource that can be deleted, custom ones too, but events. Deletes dependents, takes
dangling owner references and the finalizers ``foregroundDeletion`` and ``orphan`` away. Guarantees that an object goes
only when each of its owners was seen to be absent (by a read from the server, not from the cache) or is itself being
deleted in the foreground. An owner is looked for in the dependent's namespace or, where its kind has none, in the
cluster; a cluster-scoped object with an owner of a namespaced kind is never deleted for it.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import EVENTS, Resource
from wherry.client.client import MERGE_PATCH
from wherry.client.events import WARNING
from wherry.client.informer import SharedInformer
from wherry.controllers.catalog import Catalog
from wherry.controllers.controller import Context, Controller

log = logging.getLogger(__name__)

_SYNC_TIMEOUT = 30.0
_TOGETHER = 0.05

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Owners:
    """The owner references of an object: owners that stay, owners that are being deleted in the foreground and wait
    for it, and owners that do not exist."""

    solid: tuple[Object, ...] = ()
    waiting: tuple[Object, ...] = ()
    dangling: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """`obj` and what depends on it."""

    obj: Object
    owners: Owners
    dependents: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """At most one of: delete with a policy; write these owner references; take a finalizer away.

    `unblock` lets the owners of the object not wait for it; `dependents` are to be looked at next.
    """

    delete: str | None = None
    references: tuple[Object, ...] | None = None
    finalizer: str | None = None
    unblock: bool = False
    orphan: tuple[Object, ...] = ()
    dependents: tuple[Object, ...] = ()


def waits_for_dependents(obj: Object) -> bool:
    """Tell whether the object is being deleted in the foreground."""
    return meta.is_deleting(obj) and FOREGROUND in (obj["metadata"].get("finalizers") or ())


def is_orphaning(obj: Object) -> bool:
    """Tell whether the object is being deleted and its dependents are to stay."""
    return meta.is_deleting(obj) and ORPHAN in (obj["metadata"].get("finalizers") or ())


def plan(inputs: Inputs) -> Plan:
    """Return what to do with one object.

    A ReplicaSet whose Deployment is gone: delete in the background. A pod with two owners, one of them gone: drop that
    reference. A Deployment that is deleted in the foreground: look at its ReplicaSets first.
    """
    obj, owners = inputs.obj, inputs.owners
    finalizers = obj["metadata"].get("finalizers") or ()
    if is_orphaning(obj):
        return Plan(finalizer=ORPHAN, orphan=inputs.dependents)
    if waits_for_dependents(obj):
        blocking = tuple(dep for dep in inputs.dependents if _blocks(dep, obj))
        if not blocking:
            return Plan(finalizer=FOREGROUND)
        return Plan(dependents=tuple(dep for dep in blocking if not meta.is_deleting(dep)))
    if meta.is_deleting(obj) or not obj["metadata"].get("ownerReferences"):
        return Plan()
    if owners.solid:
        return Plan(references=owners.solid) if owners.waiting or owners.dangling else Plan()
    if not owners.waiting and not owners.dangling:
        return Plan()
    if owners.waiting and inputs.dependents:
        # A circle of objects that wait for each other would never end.
        circle = any(waits_for_dependents(dep) for dep in inputs.dependents)
        return Plan(delete="Foreground", unblock=circle)
    if ORPHAN in finalizers:
        return Plan(delete="Orphan")
    return Plan(delete="Foreground" if FOREGROUND in finalizers else "Background")


def _blocks(dependent: Object, owner: Object) -> bool:
    return any(
        ref.get("blockOwnerDeletion") and ref["uid"] == meta.uid(owner)
        for ref in dependent["metadata"].get("ownerReferences") or ()
    )


class GarbageCollector(Controller):
    """Keys are UIDs."""

    name = "generic-garbage-collector"
    component = "garbage-collector-controller"
    workers = 20

    def __init__(self, context: Context) -> None:
        self._objects: dict[str, tuple[Resource, str]] = {}
        # Of dicts: what is looked at first must not depend on a hash.
        self._dependents: dict[str, dict[str, None]] = {}
        self._informers: dict[Resource, SharedInformer] = {}
        self._removed: list[SharedInformer] = []
        super().__init__(context)

    def register(self) -> None:
        self._catalog = Catalog(self.informers, on_add=self._add_resource, on_remove=self._remove_resource)
        self._sources[self._catalog.informer.resource] = self._catalog.informer

    async def run(self) -> None:
        """Collect until cancelled; resources that appear later are waited for before their objects count as absent."""
        await self._catalog.informer.wait_synced()
        try:
            async with asyncio.timeout(_SYNC_TIMEOUT):
                for informer in list(self._informers.values()):
                    await informer.wait_synced()
        except TimeoutError:
            late = [informer.resource for informer in self._informers.values() if not informer.synced]
            log.warning("collecting although these are not synced: %s", late)
        await super().run()

    def _add_resource(self, resource: Resource) -> None:
        if resource is EVENTS:
            return
        informer = self.informers.informer(resource, metadata_only=True)
        self._informers[resource] = informer
        informer.add_handler(
            on_add=lambda obj: self._changed(resource, None, obj),
            on_update=lambda old, new: self._changed(resource, old, new),
            on_delete=lambda obj: self._deleted(obj),
        )

    def _remove_resource(self, resource: Resource) -> None:
        informer = self._informers.pop(resource, None)
        if informer is None:
            return
        for obj in informer.lister.list():
            self._deleted(obj)
        self._removed.append(informer)
        self.queue.add("")

    # The graph: every object by uid, and who depends on whom.

    def _changed(self, resource: Resource, old: Object | None, new: Object) -> None:
        uid = meta.uid(new)
        before, after = _owner_uids(old), _owner_uids(new)
        self._objects[uid] = (resource, meta.key_of(new))
        for gone in before:
            if gone not in after:
                self._forget(gone, uid)
        for owner in after:
            self._dependents.setdefault(owner, {})[uid] = None
        if old is not None and _references(old) != _references(new):
            self._wake_waiting_owners(before | after)
        if any(owner not in self._objects for owner in after):
            self.queue.add(uid)
        if waits_for_dependents(new) or is_orphaning(new):
            self.queue.add(uid)
            if waits_for_dependents(new) and (old is None or not waits_for_dependents(old)):
                self._enqueue_dependents(uid)

    def _deleted(self, obj: Object) -> None:
        uid = meta.uid(obj)
        self._objects.pop(uid, None)
        owners = _owner_uids(obj)
        for owner in owners:
            self._forget(owner, uid)
        self._wake_waiting_owners(owners)
        self._enqueue_dependents(uid)

    def _forget(self, owner: str, dependent: str) -> None:
        dependents = self._dependents.get(owner)
        if dependents is not None:
            dependents.pop(dependent, None)
            if not dependents:
                del self._dependents[owner]

    def _enqueue_dependents(self, uid: str) -> None:
        for dependent in self._dependents.get(uid, ()):
            self.queue.add(dependent)

    def _wake_waiting_owners(self, owners: Iterable[str]) -> None:
        for owner in owners:
            obj = self._cached(owner)
            if obj is not None and waits_for_dependents(obj):
                # While others remain, several that go together wake it once.
                self.queue.add_after(owner, _TOGETHER if self._dependents.get(owner) else 0.0)

    def _cached(self, uid: str) -> Object | None:
        resource, key = self._objects.get(uid, (None, ""))
        informer = self._informers.get(resource) if resource else None
        obj = informer.lister.get(key) if informer else None
        return obj if obj is not None and meta.uid(obj) == uid else None

    # Collecting.

    async def reconcile(self, key: str) -> float | None:
        if not key:
            await self._stop_removed()
            return None
        obj = self._cached(key)
        if obj is None:
            return None
        resource = self._objects[key][0]
        dependents = [dep for uid in self._dependents.get(key, ()) if (dep := self._cached(uid)) is not None]
        owners = Owners() if meta.is_deleting(obj) else await self._classify(resource, obj)
        await self._carry_out(resource, obj, plan(Inputs(obj, owners, tuple(dependents))))
        return None

    async def _stop_removed(self) -> None:
        while self._removed:
            await self.informers.remove(self._removed.pop())

    async def _classify(self, resource: Resource, obj: Object) -> Owners:
        solid, waiting, dangling = [], [], []
        for ref in obj["metadata"].get("ownerReferences") or ():
            owner = await self._find_owner(resource, obj, ref)
            if owner is None:
                dangling.append(ref)
            elif waits_for_dependents(owner):
                waiting.append(ref)
            else:
                solid.append(ref)
        return Owners(tuple(solid), tuple(waiting), tuple(dangling))

    async def _find_owner(self, resource: Resource, obj: Object, ref: Object) -> Object | None:
        """Return the owner, None when it is certain that there is none."""
        kind = self._catalog.find(ref["apiVersion"], ref["kind"])
        if kind is None:
            raise errors.NotFound(f'no matches for kind "{ref["kind"]}" in version "{ref["apiVersion"]}"')
        if kind.namespaced and not resource.namespaced:
            message = (
                f"ownerRef [{ref['apiVersion']}/{ref['kind']}, namespace: , name: {ref['name']}, uid: {ref['uid']}] "
                f'does not exist in namespace ""'
            )
            self.recorder.event(obj, WARNING, "OwnerRefInvalidNamespace", message)
            return obj
        namespace = meta.namespace(obj) if kind.namespaced else None
        cached = self._cached(ref["uid"])
        same = cached is not None and meta.key_of(cached) == meta.make_key(namespace, ref["name"])
        if same and cached is not None and cached["kind"] == ref["kind"]:
            return cached
        try:
            owner = await self.client.get(kind, ref["name"], namespace)
        except errors.NotFound as error:
            if not (error.details or {}).get("name"):
                # The resource is not served: that says nothing about the owner.
                raise
            return None
        return owner if meta.uid(owner) == ref["uid"] else None

    async def _carry_out(self, resource: Resource, obj: Object, todo: Plan) -> None:
        for dependent in todo.dependents:
            self.queue.add(meta.uid(dependent))
        for dependent in todo.orphan:
            kept = [ref for ref in dependent["metadata"]["ownerReferences"] if ref["uid"] != meta.uid(obj)]
            await self._patch(self._objects[meta.uid(dependent)][0], dependent, {"ownerReferences": kept or None})
        if todo.finalizer:
            kept = [name for name in obj["metadata"]["finalizers"] if name != todo.finalizer]
            await self._patch(resource, obj, {"finalizers": kept or None})
        if todo.references is not None:
            await self._patch(resource, obj, {"ownerReferences": list(todo.references)})
        if todo.unblock:
            refs = [{**ref, "blockOwnerDeletion": False} for ref in obj["metadata"]["ownerReferences"]]
            await self._patch(resource, obj, {"ownerReferences": refs})
        if todo.delete:
            options = {"preconditions": {"uid": meta.uid(obj)}, "propagationPolicy": todo.delete}
            try:
                await self.client.delete(resource, meta.name(obj), meta.namespace(obj) or None, options=options)
            except (errors.NotFound, errors.Conflict):
                return

    async def _patch(self, resource: Resource, obj: Object, metadata: Object) -> None:
        """Change metadata, unless the object has changed meanwhile (Conflict: tried again)."""
        locked = {"resourceVersion": obj["metadata"]["resourceVersion"], "uid": meta.uid(obj), **metadata}
        namespace = meta.namespace(obj) or None
        try:
            await self.client.patch(resource, meta.name(obj), {"metadata": locked}, namespace, content_type=MERGE_PATCH)
        except errors.NotFound:
            return


def _references(obj: Object) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []


def _owner_uids(obj: Object | None) -> dict[str, None]:
    return {ref["uid"]: None for ref in _references(obj)} if obj else {}
