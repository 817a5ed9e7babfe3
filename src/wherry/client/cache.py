"""The cache of one informer: objects by key and by named indexes.

An object that an index function fails for is in the cache and not in that index. Not for threads: it lives on the event
loop. What it hands out is shared and must not be changed.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from wherry.api import meta
from wherry.api.meta import Key, Object

log = logging.getLogger(__name__)

IndexFunc = Callable[[Object], Iterable[str]]
"""Returns the values under which an object is found."""

Objects = list[Object]
Keys = list[Key]

observer: Callable[[Object], None] | None = None
"""Called with every object that enters any cache; set by `wherry.client.testing.MutationDetector` only."""


class Lister(Protocol):
    """Reads a cache."""

    def get(self, key: str) -> Object | None:
        """Return the object of `key` (``namespace/name``, or ``name``), None when there is none."""
        ...

    def list(self, namespace: str | None = None) -> Objects:
        """Return the objects of a namespace, None: all, in no certain order."""
        ...

    def by_index(self, name: str, value: str) -> Objects:
        """Return the objects that index `name` holds under `value`. Raises KeyError for an unknown index."""
        ...


class Indexer:
    """A `Lister` that can be written. Every operation costs the same however many objects there are, but for lists."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._namespaces: dict[str, dict[str, Object]] = {}
        self._functions: dict[str, IndexFunc] = {}
        self._indexes: dict[str, dict[str, dict[str, Object]]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def get(self, key: str) -> Object | None:
        """Return the object of `key`, None when there is none."""
        return self._objects.get(key)

    def list(self, namespace: str | None = None) -> Objects:
        """Return the objects of a namespace, None: all."""
        return list((self._objects if namespace is None else self._namespaces.get(namespace, {})).values())

    def by_index(self, name: str, value: str) -> Objects:
        """Return the objects that index `name` holds under `value`. Raises KeyError for an unknown index."""
        return list(self._indexes[name].get(value, {}).values())

    def add_index(self, name: str, function: IndexFunc) -> None:
        """Add index `name` over present and future objects; one that is there stays as it is."""
        if name in self._functions:
            return
        self._functions[name] = function
        self._indexes[name] = {}
        for key, obj in self._objects.items():
            self._enter(name, function, key, obj)

    def put(self, obj: Object) -> Object | None:
        """Add or replace an object and return the one that it replaced."""
        if observer is not None:
            observer(obj)
        key = meta.key_of(obj)
        old = self._objects.get(key)
        if old is not None:
            self._leave_all(key, old)
        self._objects[key] = obj
        self._namespaces.setdefault(meta.namespace(obj), {})[key] = obj
        for name, function in self._functions.items():
            self._enter(name, function, key, obj)
        return old

    def remove(self, key: str) -> Object | None:
        """Remove the object of `key` and return it, None when it was not there."""
        old = self._objects.pop(key, None)
        if old is None:
            return None
        self._leave_all(key, old)
        _drop(self._namespaces, meta.namespace(old), key)
        return old

    def all_keys(self) -> Keys:
        """Return the keys of all objects."""
        return [Key(key) for key in self._objects]

    def _enter(self, name: str, function: IndexFunc, key: str, obj: Object) -> None:
        index = self._indexes[name]
        try:
            for value in function(obj):
                index.setdefault(value, {})[key] = obj
        except Exception:
            log.exception("index %s fails for %s", name, key)
            self._leave(name, key, obj)

    def _leave_all(self, key: str, obj: Object) -> None:
        for name in self._functions:
            self._leave(name, key, obj)

    def _leave(self, name: str, key: str, obj: Object) -> None:
        # A function that fails for an object failed for it before, after the same values.
        with contextlib.suppress(Exception):
            for value in self._functions[name](obj):
                _drop(self._indexes[name], value, key)


def _drop(groups: dict[str, dict[str, Any]], group: str, key: str) -> None:
    members = groups.get(group)
    if members is not None:
        members.pop(key, None)
        if not members:
            del groups[group]


def by_controller_uid(obj: Object) -> Iterable[str]:
    """Index by the uid of the controlling owner."""
    ref = meta.controller_of(obj)
    return (ref["uid"],) if ref else ()


def by_owner_uid(obj: Object) -> Iterable[str]:
    """Index by the uid of every owner."""
    return {ref["uid"] for ref in obj["metadata"].get("ownerReferences") or () if ref.get("uid")}


def by_node(pod: Object) -> Iterable[str]:
    """Index pods by the node that they are bound to; ``""`` holds those that are not bound."""
    return ((pod.get("spec") or {}).get("nodeName") or "",)
