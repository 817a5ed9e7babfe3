"""The ResourceQuota controller: what is used of each quota.

Watches quotas and, as far as quotas name them, all other resources (``count/<resource>`` starts an informer of
metadata). Writes ``status.hard`` and ``status.used``. Admission raises ``used`` before each create; this controller
brings it down after deletions and when pods end, and right when the quota changes. What was charged a moment ago may be
on its way to the caches: ``used`` is not computed before the quota has rested, unless ``hard`` changed.
"""

from collections.abc import Iterable

from wherry.api import errors, meta, quota
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PODS, RESOURCEQUOTAS, SERVICES, Resource
from wherry.client.informer import SharedInformer
from wherry.controllers.catalog import Catalog
from wherry.controllers.controller import Controller
from wherry.util import clock

# Several changes of a namespace come together; the caches hold what admission has counted by then.
_DELAY = 0.1
_REST = 0.3
_SHARE = 20.0
"""How many times as long as counting a namespace takes the next time waits: it may have thousands of pods."""

_AT_ONCE = 500
"""Seconds without a charge after which the caches are taken to hold all that was charged for."""


def new_status(found: Object, used: dict[str, str]) -> Object:
    """Return the status of a quota."""
    return {"hard": found["spec"].get("hard") or {}, "used": used}


def _spec_changed(old: Object, new: Object) -> bool:
    return old["spec"] != new["spec"]


class ResourceQuotaController(Controller):
    name = "resourcequota-controller"

    def register(self) -> None:
        self._quotas = self.watch(RESOURCEQUOTAS, changed=_spec_changed)
        self._charged: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._quotas.add_handler(on_update=self._note_charge, on_delete=self._forget)
        self._catalog = Catalog(self.informers)
        self._sources[self._catalog.informer.resource] = self._catalog.informer
        self._tracked: dict[Resource, SharedInformer] = {}
        for resource in (PODS, SERVICES, PERSISTENTVOLUMECLAIMS, RESOURCEQUOTAS):
            self._track(resource)

    def _note_charge(self, old: Object, new: Object) -> None:
        key = meta.key_of(new)
        self._charged[key] = clock.monotonic()
        # What was charged for may have been refused afterwards.
        self.queue.add_after(key, _REST)

    def _forget(self, found: Object) -> None:
        self._charged.pop(meta.key_of(found), None)
        self._took.pop(meta.key_of(found), None)

    def _track(self, resource: Resource) -> SharedInformer:
        informer = self._tracked.get(resource)
        if informer is None:
            thin = resource not in (PODS, SERVICES, PERSISTENTVOLUMECLAIMS, RESOURCEQUOTAS)
            informer = self._tracked[resource] = self.informers.informer(resource, metadata_only=thin)
            informer.add_handler(
                on_add=self._enqueue_namespace,
                on_update=lambda old, new: self._updated(resource, old, new),
                on_delete=self._enqueue_namespace,
            )
        return informer

    def _updated(self, resource: Resource, old: Object, new: Object) -> None:
        if resource is RESOURCEQUOTAS or not self._quotas.lister.list(meta.namespace(new)):
            return
        if quota.uses_differ(resource, old, new):
            self._enqueue_namespace(new)

    def _enqueue_namespace(self, obj: Object) -> None:
        for found in self._quotas.lister.list(meta.namespace(obj)):
            key = meta.key_of(found)
            self.queue.add_after(key, max(_DELAY, _SHARE * self._took.get(key, 0.0)))

    def _resources_of(self, found: Object) -> Iterable[Resource]:
        names = found["spec"].get("hard") or {}
        for resource in self._catalog:
            if resource.namespaced and any(quota.may_use(resource, name) for name in names):
                yield resource

    async def _count(self, key: str, spec: Object, objects: list[tuple[Resource, list[Object]]]) -> dict[str, str]:
        total: quota.Usage = {}
        took = 0.0
        for resource, found in objects:
            for at in range(0, len(found), _AT_ONCE):
                began = clock.monotonic()
                total = quota.add(total, quota.usage_of_all(spec, resource, found[at : at + _AT_ONCE]))
                took += clock.monotonic() - began
                await clock.sleep(0)
        self._took[key] = took
        return quota.shown_usage(spec, total)

    async def reconcile(self, key: str) -> float | None:
        found = self._quotas.lister.get(key)
        if found is None or meta.is_deleting(found):
            return None
        before = found.get("status") or {}
        at = self._charged.get(key)
        hard_is_told = before.get("hard") == (found["spec"].get("hard") or {})
        if hard_is_told and at is not None and clock.monotonic() - at < _REST:
            return _REST
        namespace, objects = meta.namespace(found), []
        for resource in self._resources_of(found):
            informer = self._track(resource)
            await informer.wait_synced()
            objects.append((resource, informer.lister.list(namespace)))
        status = new_status(found, await self._count(key, found["spec"], objects))
        if status == before:
            return None
        try:
            answer = await self.client.update_status(RESOURCEQUOTAS, {**found, "status": status})
        except errors.NotFound:
            return None
        self.wrote(key, RESOURCEQUOTAS, answer)
        return None
