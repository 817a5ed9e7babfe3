"""Shared informers: one cache per resource and selection, and handlers that hear of its changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from types import TracebackType

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import Resource
from wherry.client.cache import Indexer, IndexFunc, Lister
from wherry.client.client import Client
from wherry.client.reflector import Reflector
from wherry.util.tasks import Scope, cancel

log = logging.getLogger(__name__)

OnChange = Callable[[Object], None]
OnUpdate = Callable[[Object, Object], None]


class SharedInformer:
    """A cache of one resource that follows the server.

    Guaranteed:

    - the cache converges to the server's state: after the last change and once the server can be reached, it is equal;
    - it never goes back: each object's states appear in the order of the server, though some may be left out;
    - a handler runs after the cache holds the new state, once per change of the cache, on the event loop, in order;
    - a handler that is added late is told of all that is there by ``on_add``;
    - an object that was deleted and created again under its name while the watch was broken is one ``on_delete`` and
      one ``on_add``.

    Not guaranteed: that every state is seen, that ``on_delete`` gets the very last state, that two informers agree
    with each other at any moment, or that a write is in the cache when it returns (`wait_revision`). Objects are
    shared: never change them. Handlers must be quick (enqueue a key); one that raises is logged, the others go on.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> None:
        self.resource = resource
        self._indexer = Indexer()
        self._on_add: list[OnChange] = []
        self._on_update: list[OnUpdate] = []
        self._on_delete: list[OnChange] = []
        self._synced = asyncio.Event()
        self._reached = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._metadata_only = metadata_only
        self._reflector = Reflector(
            client, resource, self, namespace=namespace, label_selector=label_selector, field_selector=field_selector
        )

    @property
    def lister(self) -> Lister:
        """The cache, to read."""
        return self._indexer

    @property
    def synced(self) -> bool:
        """Whether the first list is in the cache and the handlers have heard of it."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until `synced`."""
        await self._synced.wait()

    async def wait_revision(self, revision: int) -> None:
        """Wait until the cache has all changes up to `revision`, such as one's own write.

        `revision` must be of a write to the resource that the informer sees; of another resource it may never come.
        """
        if self._reached < revision:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((revision, waiter))
            await waiter

    def add_index(self, name: str, function: IndexFunc) -> None:
        """Add an index for ``lister.by_index``; the same name again is ignored, so a name must mean one function."""
        self._indexer.add_index(name, function)

    def add_handler(
        self,
        *,
        on_add: OnChange | None = None,
        on_update: OnUpdate | None = None,
        on_delete: OnChange | None = None,
    ) -> None:
        """Tell these functions of changes: ``on_add(obj)``, ``on_update(old, new)``, ``on_delete(last)``."""
        if on_add is not None:
            self._on_add.append(on_add)
        if on_update is not None:
            self._on_update.append(on_update)
        if on_delete is not None:
            self._on_delete.append(on_delete)
        if on_add is not None:
            for obj in self._indexer:
                _tell((on_add,), obj)

    async def run(self) -> None:
        """Follow the server until cancelled."""
        await self._reflector.run()

    def replace(self, objects: list[Object]) -> None:
        """Take a complete list (the reflector's sink)."""
        present = {meta.key_of(obj) for obj in objects}
        for key in self._indexer.all_keys():
            if key not in present:
                self._remove(key)
        for obj in objects:
            self._put(meta.key_of(obj), obj)
        self._synced.set()

    def apply(self, event: str, obj: Object) -> None:
        """Take one change (the reflector's sink)."""
        key = meta.key_of(obj)
        if event != "DELETED":
            self._put(key, obj)
        elif key in self._indexer:
            self._indexer.put(self._reduced(obj))
            self._remove(key)

    def reached(self, revision: str) -> None:
        """Take the revision that the cache is of (the reflector's sink)."""
        self._reached = int(revision)
        if self._waiters:
            due = [waiter for wanted, waiter in self._waiters if wanted <= self._reached]
            self._waiters = [entry for entry in self._waiters if entry[0] > self._reached and not entry[1].done()]
            for waiter in due:
                if not waiter.done():
                    waiter.set_result(None)

    def _put(self, key: str, obj: Object) -> None:
        old = self._indexer.get(key)
        if old is not None and old["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
            return
        if old is not None and meta.uid(old) != meta.uid(obj):
            self._remove(key)
            old = None
        obj = self._reduced(obj)
        self._indexer.put(obj)
        if old is None:
            _tell(self._on_add, obj)
        else:
            _tell(self._on_update, old, obj)

    def _remove(self, key: str) -> None:
        old = self._indexer.remove(key)
        if old is not None:
            _tell(self._on_delete, old)

    def _reduced(self, obj: Object) -> Object:
        if not self._metadata_only:
            return obj
        metadata = obj["metadata"]
        if "managedFields" in metadata:
            metadata = {name: value for name, value in metadata.items() if name != "managedFields"}
        return {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}


def _tell(handlers: Sequence[Callable[..., None]], *args: Object) -> None:
    for handler in handlers:
        try:
            handler(*args)
        except Exception:
            log.exception("an informer's handler failed for %s", meta.key_of(args[-1]))


class InformerFactory:
    """Makes each informer once and runs them all.

    ``async with InformerFactory(client) as factory`` starts what was asked for; what is asked for later starts at
    once. ``run(scope)`` does the same inside a `Scope` of the caller.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._informers: dict[tuple[Resource, str | None, str, str, bool], SharedInformer] = {}
        self._tasks: dict[SharedInformer, asyncio.Task[None]] = {}
        self._scope: Scope | None = None

    def informer(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> SharedInformer:
        """Return the informer of a resource and selection; it starts with the factory.

        With `metadata_only` objects are kept as ``kind``, ``apiVersion`` and ``metadata``; a full informer of the same
        selection is returned instead where there is one.
        """
        selection = (resource, namespace, label_selector, field_selector)
        found = self._informers.get((*selection, False)) or self._informers.get((*selection, metadata_only))
        if found is None:
            found = self._informers[(*selection, metadata_only)] = SharedInformer(
                self.client,
                resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                metadata_only=metadata_only,
            )
            self._start(found)
        return found

    def run(self, scope: Scope) -> None:
        """Start all informers, now and later, in `scope`; they end with it."""
        self._scope = scope
        for informer in self._informers.values():
            self._start(informer)

    async def remove(self, informer: SharedInformer) -> None:
        """Stop an informer and forget it, for a resource that is no longer served. Its handlers hear nothing."""
        self._informers = {key: kept for key, kept in self._informers.items() if kept is not informer}
        task = self._tasks.pop(informer, None)
        if task is not None:
            await cancel(task)

    async def wait_synced(self) -> None:
        """Wait until every informer that is known now is synced."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()

    async def __aenter__(self) -> "InformerFactory":
        self._own = Scope()
        self.run(await self._own.__aenter__())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._scope = None
        self._tasks.clear()
        return await self._own.__aexit__(kind, error, traceback)

    def _start(self, informer: SharedInformer) -> None:
        if self._scope is not None and informer not in self._tasks:
            self._tasks[informer] = self._scope.spawn(informer.run(), name=f"informer {informer.resource!r}")
