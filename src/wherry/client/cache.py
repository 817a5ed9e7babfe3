"""The cache of one informer: objects by key and by named indexes.

An object that an index function fails for is in the cache and not in that index. Not for threads: it lives on the event
loop. What it hands out is shared and must not be changed.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from sys import intern
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
        self._indexes: dict[str, _Index] = {}

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
        group = self._indexes[name].groups.get(value)
        return [] if group is None else list(group.values())

    def add_index(self, name: str, function: IndexFunc) -> None:
        """Add index `name` over present and future objects; one that is there stays as it is."""
        if name in self._indexes:
            return
        index = self._indexes[name] = _Index(name, function)
        for key, obj in self._objects.items():
            index.put(key, obj, index.of(obj))

    def put(self, obj: Object) -> Object | None:
        """Add or replace an object and return the one that it replaced."""
        if observer is not None:
            observer(obj)
        key = meta.key_of(obj)
        old = self._objects.get(key)
        self._objects[key] = obj
        self._namespaces.setdefault(meta.namespace(obj), {})[key] = obj
        for index in self._indexes.values():
            found = index.of(obj)
            # In most indexes most objects are nowhere.
            if found or key in index.values:
                index.put(key, obj, found)
        return old

    def remove(self, key: str) -> Object | None:
        """Remove the object of `key` and return it, None when it was not there."""
        old = self._objects.pop(key, None)
        if old is None:
            return None
        for index in self._indexes.values():
            index.remove(key)
        _drop(self._namespaces, meta.namespace(old), key)
        return old

    def all_keys(self) -> Keys:
        """Return the keys of all objects."""
        return [Key(key) for key in self._objects]


class _Index:
    """One index: `groups` holds the objects under each value, `values` those of each object that has any.

    Most changes of an object leave its values as they were: then it takes the place of the old one and no more.
    """

    __slots__ = ("_function", "_name", "groups", "values")

    def __init__(self, name: str, function: IndexFunc) -> None:
        self._name = name
        self._function = function
        self.values: dict[str, tuple[str, ...]] = {}
        self.groups: dict[str, dict[str, Object]] = {}

    def of(self, obj: Object) -> tuple[str, ...]:
        """Return the values of an object, none when the function fails for it."""
        try:
            found = self._function(obj)
            return tuple(map(intern, found)) if found else ()
        except Exception:
            log.exception("index %s fails for %s", self._name, meta.key_of(obj))
            return ()

    def put(self, key: str, obj: Object, values: tuple[str, ...]) -> None:
        before = self.values.get(key, ())
        if values == before:
            for value in before:
                self.groups[value][key] = obj
            return
        if before:
            self.remove(key)
        if values:
            self.values[key] = values
            for value in values:
                self.groups.setdefault(value, {})[key] = obj

    def remove(self, key: str) -> None:
        for value in self.values.pop(key, ()):
            _drop(self.groups, value, key)


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
