"""The objects of the API over the store: keys, encoding, decoding once, versions of collections.

Implements `wherry.apiserver.attributes.Reader`. Every write of the server goes through `Registry.write`.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from wherry.api import newpods, protobuf, schema
from wherry.api.resources import PODS, TABLE, Resource, ResourceTable
from wherry.apiserver import conversion
from wherry.apiserver.attributes import Follower
from wherry.store.protocol import PUT, Event, Record, Store, Subscription
from wherry.util import clock
from wherry.util.metrics import Histogram

log = logging.getLogger(__name__)

Object = dict[str, Any]

_DUMP = orjson.dumps
_WRITE_SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


_DECODED = 1024
"""How many decoded objects are kept for the next reader; the store holds bytes, which are a tenth of their size."""


class Memo:
    """What was derived from a record: its object (shared, never changed), the object as informers keep it, its other
    forms by resource (an object served in two versions), its protobuf by resource."""

    __slots__ = ("fetched", "forms", "light", "obj", "protobuf")

    def __init__(self) -> None:
        self.fetched = False
        self.obj: Object | None = None
        self.light: Object | None = None
        self.forms: dict[Resource, Object] | None = None
        self.protobuf: dict[Resource, bytes] | None = None

    def forget(self) -> None:
        """Drop what can be made again at once, which a form that a webhook made cannot."""
        self.obj = self.light = self.protobuf = None
        if not self.fetched:
            self.forms = None


def encode(obj: Object, revision: int) -> bytes:
    """Return the bytes of `obj` with `revision` as its resourceVersion; sets it in `obj` too.

    ``kind`` and ``apiVersion`` come first, so that an item of a list is these bytes without their beginning.
    """
    obj["metadata"]["resourceVersion"] = str(revision)
    # What orjson returns keeps its whole buffer of 8 KiB or more; these bytes are held as long as the object is there.
    return bytes(memoryview(_DUMP({"kind": obj["kind"], "apiVersion": obj["apiVersion"], **obj})))


class Registry:
    """Reads and writes objects of any resource of its table, without authorization or admission."""

    def __init__(self, store: Store, *, table: ResourceTable | None = None) -> None:
        self.store = store
        self.table = table if table is not None else ResourceTable(list(TABLE))
        self.conversions = dict(conversion.STORED_AS)
        self._prefixes: dict[Resource, str] = {}
        self._pods = self.prefix(PODS)
        self._versions: dict[str, int] = {}
        self._fresh: dict[tuple[str, int], Object] = {}
        self.write_seconds: dict[tuple[str, str], Histogram] = {}
        self._kept: deque[Memo] = deque()
        self._followers: dict[str, list[Follower]] = {}
        self._subscription: Subscription | None = None
        self._collections: dict[tuple[Resource, str], tuple[int, Sequence[Object]]] = {}
        self.on_table_change: list[Callable[[], None]] = []

    async def start(self) -> None:
        """Follow the store, so that `version` changes in the same step as what `list` shows."""
        self._subscription = await self.store.watch("/registry/", self.store.revision, self._note)

    def stop(self) -> None:
        """Follow the store no longer."""
        if self._subscription is not None:
            self._subscription.close()

    def _note(self, events: Sequence[Event]) -> None:
        for event in events:
            key = event.record.key
            prefix = key[: key.index("/", key.index("/", 10) + 1) + 1]
            self._versions[prefix] = event.record.revision
            followers = self._followers.get(prefix)
            if followers is not None:
                obj = self.obj(event.record) if event.type == PUT else None
                for follower in followers:
                    _tell(follower, key, obj)

    def add_resource(self, resource: Resource, convert: conversion.Conversion | None = None) -> None:
        """Serve one more resource (a custom one); replaces what had its group, version and plural."""
        self.remove_resource(self.table.find(resource.group, resource.version, resource.plural), notify=False)
        self.table.add(resource)
        if convert is not None:
            self.conversions[resource] = convert
        self._changed()

    def remove_resource(self, resource: Resource | None, *, notify: bool = True) -> None:
        """Stop serving one resource; its stored objects stay."""
        if resource is None:
            return
        self.table.remove(resource)
        self.conversions.pop(resource, None)
        self._prefixes.pop(resource, None)
        for key in [key for key in self._collections if key[0] is resource]:
            del self._collections[key]
        if notify:
            self._changed()

    def _changed(self) -> None:
        for callback in self.on_table_change:
            callback()

    def stored(self, resource: Resource) -> Resource:
        """Return the resource in whose form the objects of `resource` are stored."""
        found = self.conversions.get(resource)
        return found.stored if found is not None else resource

    def prefix(self, resource: Resource, namespace: str | None = None) -> str:
        """Return the key prefix of a collection or of its part in one namespace; ends with a slash."""
        root = self._prefixes.get(resource)
        if root is None:
            stored = self.stored(resource)
            root = self._prefixes[resource] = f"/registry/{stored.group or 'core'}/{stored.plural}/"
        return f"{root}{namespace}/" if namespace else root

    def key(self, resource: Resource, namespace: str | None, name: str) -> str:
        """Return the key of an object."""
        return self.prefix(resource, namespace if resource.namespaced else None) + name

    def record(self, resource: Resource, namespace: str | None, name: str) -> Record | None:
        """Return the acknowledged record of an object."""
        return self.store.get(self.key(resource, namespace, name))

    def obj(self, record: Record, resource: Resource | None = None) -> Object:
        """Return the object of a record in the form of `resource` (None: as stored). Shared; never change it.

        Callers at about the same time get the same object; later ones an equal one.
        """
        memo = record.memo
        found = memo.obj if memo is not None else None
        if found is None:
            memo, found = self._decoded(record)
        convert = self.conversions.get(resource) if resource is not None else None
        if convert is None or resource is None:
            return found
        form = memo.forms.get(resource) if memo.forms is not None else None
        if form is None:
            form = convert.from_stored(found)
            if convert.fetch is None:  # what only a webhook can make is not to be taken for it (`ready`)
                memo.forms = {**(memo.forms or {}), resource: form}
        return form

    def _decoded(self, record: Record) -> tuple[Memo, Object]:
        found = self._fresh.get((record.key, record.revision))
        if found is None:
            found = orjson.loads(record.value)
            if record.key.startswith(self._pods):
                newpods.share(found)
        return self._keep(record, found)

    def _keep(self, record: Record, obj: Object) -> tuple[Memo, Object]:
        memo = record.memo
        if memo is None:
            memo = record.memo = Memo()
        memo.obj = obj
        self._kept.append(memo)
        while len(self._kept) > _DECODED:
            self._kept.popleft().forget()
        return memo, obj

    def is_fetched(self, resource: Resource) -> bool:
        """Tell whether a webhook makes the form of `resource`: then `ready` must come before `obj`."""
        convert = self.conversions.get(resource)
        return convert is not None and convert.fetch is not None

    async def ready(self, records: Sequence[Record], resource: Resource) -> None:
        """Have the form of `resource` of all `records` made, where that takes a webhook, so that `obj` finds it.

        Raises StatusError when the webhook fails.
        """
        convert = self.conversions.get(resource)
        if convert is None or convert.fetch is None:
            return
        missing = [r for r in records if r.memo is None or r.memo.forms is None or resource not in r.memo.forms]
        if not missing:
            return
        forms = await convert.fetch([self.obj(record) for record in missing])
        for record, form in zip(missing, forms, strict=True):
            self.obj(record)
            memo = record.memo
            memo.fetched = True
            memo.forms = {**(memo.forms or {}), resource: form}

    def light(self, record: Record, resource: Resource) -> Object:
        """Return the object of a record without ``managedFields``, which are the half of it: for those who keep many.

        Shared as that of `obj`. A write of such an object leaves the stored ``managedFields`` as they are.
        """
        obj = self.obj(record, resource)
        if resource in self.conversions or "managedFields" not in obj["metadata"]:
            return obj
        memo = record.memo
        if memo.light is None:
            metadata = obj["metadata"].copy()
            del metadata["managedFields"]
            memo.light = obj.copy()
            memo.light["metadata"] = metadata
        return memo.light

    def value(self, record: Record, resource: Resource) -> bytes:
        """Return the bytes of a record in the form of `resource`."""
        if resource not in self.conversions:
            return record.value
        form = self.obj(record, resource)
        return record.value if form is record.memo.obj else encode(dict(form), record.revision)

    def items(self, records: Sequence[Record], resource: Resource, *, end: bytes) -> bytes:
        """Return the bytes of records as the items of a list, and `end`: without kind and apiVersion, unless they are
        custom ones. Each byte is copied once: lists are long."""
        if not records:
            return end
        converted = resource in self.conversions
        values = [self.value(record, resource) if converted else record.value for record in records]
        if resource.custom is not None:
            values[-1] += end
            return b",".join(values)
        # ``"kind":…,"apiVersion":…,`` is at the beginning, where `encode` put it.
        head = len(resource.kind) + len(resource.api_version) + 27
        parts: list[bytes | memoryview] = [memoryview(value)[head:] for value in values]
        parts[-1] = values[-1][head:] + end
        parts[0] = b"{" + parts[0]
        return b",{".join(parts)

    def protobuf(self, record: Record, resource: Resource) -> bytes:
        """Return the protobuf of a record of a built-in resource, without an envelope."""
        memo = record.memo
        if memo is not None and memo.protobuf is not None and resource in memo.protobuf:
            return memo.protobuf[resource]
        encoded = protobuf.encode_body(self.obj(record, resource), schema.load()) or b""
        memo = record.memo
        if memo.protobuf is None:
            memo.protobuf = {}
        memo.protobuf[resource] = encoded
        return encoded

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """Return one object, shared, None when there is none."""
        record = self.record(resource, namespace, name)
        return None if record is None else self.obj(record, resource)

    def list(self, resource: Resource, namespace: str | None = None) -> Sequence[Object]:
        """Return the objects of a namespace, or of all with None; shared."""
        version = self.version(resource)
        known = self._collections.get((resource, namespace or ""))
        if known is not None and known[0] == version:
            return known[1]
        records = self.store.list(self.prefix(resource, namespace)).records
        objects = [self.obj(record, resource) for record in records]
        self._collections[resource, namespace or ""] = (version, objects)
        return objects

    def version(self, resource: Resource) -> int:
        """Return a number that changes whenever an object of the resource does."""
        return self._versions.get(self._prefixes.get(resource) or self.prefix(resource), 0)

    def follow(self, resource: Resource, follower: Follower) -> None:
        """Tell `follower` of every object that there is, then of every change in the step in which `list` shows it.

        It gets a key, the same for the same object, and the object; None when that is gone.
        """
        prefix = self.prefix(resource)
        for record in self.store.list(prefix).records:
            _tell(follower, record.key, self.obj(record))
        self._followers.setdefault(prefix, []).append(follower)

    async def write(
        self, resource: Resource, obj: Object, *, namespace: str | None, name: str, expected: int, delete: bool = False
    ) -> Record:
        """Write `obj` in the form of its stored resource and return its record.

        `obj` belongs to the registry afterwards: it becomes the record's shared object. Raises Mismatch.
        """
        key = self.key(resource, namespace, name)
        written = 0

        def make(revision: int) -> bytes:
            nonlocal written
            written = revision
            self._fresh[key, revision] = obj  # watchers hear of the record before this call returns
            return encode(obj, revision)

        began = clock.monotonic()
        try:
            record = await self.store.write(key, make, expected=expected, delete=delete)
            self._note_write("delete" if delete else "update" if expected else "create", resource, began)
            if record.memo is None:
                self._keep(record, obj)
            return record
        finally:
            self._fresh.pop((key, written), None)

    def _note_write(self, operation: str, resource: Resource, began: float) -> None:
        seconds = self.write_seconds.get((operation, resource.group_resource))
        if seconds is None:
            seconds = self.write_seconds[operation, resource.group_resource] = Histogram(_WRITE_SECONDS)
        seconds.observe(clock.monotonic() - began)


def _tell(follower: Follower, key: str, obj: Object | None) -> None:
    """Call a follower; what it raises is logged, for an object of any shape must reach the others."""
    try:
        follower(key, obj)
    except Exception:
        log.exception("a follower failed for %s", key)


async def stored_form(registry: Registry, resource: Resource, obj: Object) -> Object:
    """Return `obj` as it is stored: itself, or converted when another version stores it. Raises StatusError."""
    convert = registry.conversions.get(resource)
    if convert is not None and convert.send is not None:
        return await convert.send(obj)
    return obj if convert is None else convert.to_stored(obj)
