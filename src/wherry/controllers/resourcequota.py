"""The ResourceQuota controller: what is used of each quota.

Watches quotas and, as far as quotas name them, all other resources (``count/<resource>`` starts an informer of
metadata). Writes ``status.hard`` and ``status.used``. Admission raises ``used`` before each create; this controller
brings it down after deletions and when pods end, and right when the quota changes. What was charged and is not in the
caches yet counts as if it were (`Tally.charge`).
"""

from collections.abc import Iterable

from wherry.api import errors, meta, quantity, quota
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PODS, RESOURCEQUOTAS, SERVICES, Resource
from wherry.client.informer import SharedInformer
from wherry.controllers.catalog import Catalog
from wherry.controllers.controller import Controller
from wherry.controllers.tally import Tally
from wherry.util import clock

# Several changes of a namespace come together.
_DELAY = 0.1

_WHOLE = frozenset({PODS, SERVICES, PERSISTENTVOLUMECLAIMS, RESOURCEQUOTAS, quota.RESOURCECLAIMS})
"""Of these more than the number is counted."""

_AT_ONCE = 500
"""How many objects are counted in one step of the event loop when a quota is new."""


def new_status(found: Object, used: dict[str, str]) -> Object:
    """Return the status of a quota."""
    return {"hard": found["spec"].get("hard") or {}, "used": used}


def _charged(old: dict[str, str], new: dict[str, str]) -> quota.Usage:
    """Return by how much amounts were raised."""
    changed = {name: (old.get(name, "0"), text) for name, text in new.items() if text != old.get(name)}
    raised = {name: quantity.parse(text) - quantity.parse(before) for name, (before, text) in changed.items()}
    return {name: amount for name, amount in raised.items() if amount.value > 0}


def _spec_changed(old: Object, new: Object) -> bool:
    return old["spec"] != new["spec"]


class ResourceQuotaController(Controller):
    name = "resourcequota-controller"

    def register(self) -> None:
        self._quotas = self.watch(RESOURCEQUOTAS, changed=_spec_changed)
        self._written_status: dict[str, Object] = {}
        self._tallies: dict[str, dict[str, Tally]] = {}
        self._quotas.add_handler(on_update=self._note_charge, on_delete=self._forget)
        self._catalog = Catalog(self.informers)
        self._sources[self._catalog.informer.resource] = self._catalog.informer
        self._tracked: dict[Resource, SharedInformer] = {}
        for resource in (PODS, SERVICES, PERSISTENTVOLUMECLAIMS, RESOURCEQUOTAS):
            self._track(resource)

    def _note_charge(self, old: Object, new: Object) -> None:
        """Whatever raises ``used`` and is not this controller is admission."""
        key, status = meta.key_of(new), new.get("status") or {}
        if status == self._written_status.get(key):
            return
        tally = self._tallies.get(meta.namespace(new), {}).get(key)
        charged = _charged((old.get("status") or {}).get("used") or {}, status.get("used") or {})
        if tally is not None and charged:
            # What was charged for may have been refused afterwards.
            self.queue.add_after(key, tally.charge(charged))
        else:
            self.queue.add_after(key, _DELAY)

    def _forget(self, found: Object) -> None:
        key, namespace = meta.key_of(found), meta.namespace(found)
        self._written_status.pop(key, None)
        tallies = self._tallies.get(namespace)
        if tallies is not None:
            tallies.pop(key, None)
            if not tallies:
                del self._tallies[namespace]

    def _track(self, resource: Resource) -> SharedInformer:
        informer = self._tracked.get(resource)
        if informer is None:
            informer = self.informers.informer(resource, metadata_only=resource not in _WHOLE)
            self._tracked[resource] = informer
            informer.add_handler(
                on_add=lambda obj: self._put(resource, obj),
                on_update=lambda old, new: self._updated(resource, old, new),
                on_delete=lambda obj: self._dropped(resource, obj),
            )
        return informer

    def _put(self, resource: Resource, obj: Object) -> None:
        for key, tally in self._tallies.get(meta.namespace(obj), {}).items():
            if tally.put(resource, obj):
                self.queue.add_after(key, _DELAY)

    def _updated(self, resource: Resource, old: Object, new: Object) -> None:
        if meta.namespace(new) in self._tallies and quota.may_differ(old, new):
            self._put(resource, new)

    def _dropped(self, resource: Resource, obj: Object) -> None:
        for key, tally in self._tallies.get(meta.namespace(obj), {}).items():
            if tally.drop(resource, obj):
                self.queue.add_after(key, _DELAY)

    def _resources_of(self, found: Object) -> Iterable[Resource]:
        names = found["spec"].get("hard") or {}
        for resource in self._catalog:
            if resource.namespaced and any(quota.may_use(resource, name) for name in names):
                yield resource

    async def _tally(self, key: str, found: Object) -> Tally:
        """Return the tally of a quota, with all in it that the quota names."""
        namespace, spec = meta.namespace(found), found["spec"]
        tallies = self._tallies.setdefault(namespace, {})
        tally = tallies.get(key)
        if tally is None or tally.spec != spec:
            tally = tallies[key] = Tally(spec)
        for resource in self._resources_of(found):
            if resource in tally.resources:
                continue
            informer = self._track(resource)
            await informer.wait_synced()
            tally.resources.add(resource)
            for number, obj in enumerate(informer.lister.list(namespace), start=1):
                # As it is by now: other changes come between the steps.
                present = informer.lister.get(meta.key_of(obj))
                if present is not None:
                    tally.put(resource, present)
                if number % _AT_ONCE == 0:
                    await clock.sleep(0)
        return tally

    async def reconcile(self, key: str) -> float | None:
        found = self._quotas.lister.get(key)
        if found is None or meta.is_deleting(found):
            return None
        tally = await self._tally(key, found)
        again = tally.age()
        status = new_status(found, quota.shown_usage(found["spec"], tally.total()))
        if status == (found.get("status") or {}):
            return again
        self._written_status[key] = status
        try:
            answer = await self.client.update_status(RESOURCEQUOTAS, {**found, "status": status})
        except errors.StatusError as error:
            self._written_status.pop(key, None)
            if isinstance(error, errors.NotFound):
                return None
            raise
        self.wrote(key, RESOURCEQUOTAS, answer)
        return again
