"""From an object to who controls it: found out once for all the controllers that want to know."""

from collections.abc import Callable

from wherry.api import meta
from wherry.api.meta import Key, Object
from wherry.api.resources import Resource
from wherry.client.informer import OnChange, SharedInformer


class Dependents:
    """Tells of the changes of one resource by the kind of the controlling owner: of five controllers that own pods,
    four have nothing to do with any one of them."""

    def __init__(self, informer: SharedInformer) -> None:
        self._informer = informer
        self._owners: dict[tuple[str, str], Callable[[Key], None]] = {}
        self._adopters: list[OnChange] = []
        informer.add_handler(on_add=self._changed, on_update=self._updated, on_delete=self._changed)

    def add(self, owner: Resource, tell: Callable[[Key], None], *, orphan: OnChange | None = None) -> None:
        """Call `tell` with the key of the owner on every change of what a kind of owner controls, whatever its version,
        and `orphan` with what nobody controls and that is not being deleted."""
        self._owners[owner.group, owner.kind] = tell
        if orphan is not None:
            self._adopters.append(orphan)
        for obj in self._informer.lister.list():
            self._changed(obj)

    def _changed(self, obj: Object) -> None:
        self._tell(obj, meta.controller_of(obj))

    def _updated(self, old: Object, new: Object) -> None:
        ref = meta.controller_of(new)
        if (ref is None or ref != meta.controller_of(old)) and _has_moved(old, new):
            self._changed(old)
        self._tell(new, ref)

    def _tell(self, obj: Object, ref: Object | None) -> None:
        if ref is not None:
            tell = self._owners.get((ref.get("apiVersion", "").rpartition("/")[0], ref.get("kind", "")))
            if tell is not None:
                tell(owner_key(obj, ref))
        elif self._adopters and not meta.is_deleting(obj):
            for adopt in self._adopters:
                adopt(obj)


def owner_key(obj: Object, ref: Object) -> Key:
    """Return the key of a namespaced owner of `obj`."""
    return meta.make_key(meta.namespace(obj), ref["name"])


def is_kind(ref: Object, resource: Resource) -> bool:
    """Tell whether an owner reference is to a kind, whatever the version."""
    return ref.get("kind") == resource.kind and ref.get("apiVersion", "").rpartition("/")[0] == resource.group


def _has_moved(old: Object, new: Object) -> bool:
    """Tell whether an update may have changed which owners an object concerns."""
    before, after = old["metadata"], new["metadata"]
    return any(before.get(name) != after.get(name) for name in ("ownerReferences", "labels", "deletionTimestamp"))
