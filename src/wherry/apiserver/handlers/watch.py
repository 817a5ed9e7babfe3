"""GET with ``watch``: initial objects, then changes, with selectors, bookmarks and a time limit."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import islice
from typing import Any

from wherry.api.errors import Expired
from wherry.apiserver.api import Api
from wherry.apiserver.fields import Selection
from wherry.apiserver.handlers.list import selection
from wherry.apiserver.query import boolean, cached_version, integer, validate_list
from wherry.apiserver.request import Change, Request, Watched
from wherry.store.protocol import PUT, Compacted, Event, Record, Subscription
from wherry.util import clock

Object = dict[str, Any]

_BOOKMARK_PERIOD = 60.0
_LAST_BOOKMARK = 2.0
_DEFAULT_TIMEOUT = 1800.0
_BATCH = 500

_MOST_HELD, _MOST_HELD_BYTES = 10_000, 32 << 20
"""What is kept for a client that does not read, beyond what had happened when it came. Then its watch ends, as
upstream's watch cache ends one that is slow; the client resumes where it was."""

INITIAL_END = "k8s.io/initial-events-end"


async def handle(api: Api, request: Request) -> Watched:
    """Answer with the stream of changes."""
    params = request.params
    validate_list(params, watch=True)
    chosen = selection(request)
    version = cached_version(params.get("resourceVersion", ""))
    timeout = float(integer(params, "timeoutSeconds") or _DEFAULT_TIMEOUT)
    return Watch(api, request, chosen, version=version, timeout=timeout)


class Watch(Watched):
    """One watch. Events come from the store into `_waiting`, in the step in which they are committed."""

    def __init__(self, api: Api, request: Request, chosen: Selection, *, version: int, timeout: float) -> None:
        self.resource = request.resource
        self.over = False
        self._registry = api.registry
        self._request = request
        self._chosen = chosen
        self._version = version
        self._timeout = timeout
        self._bookmarks = boolean(request.params, "allowWatchBookmarks")
        self._deadline = clock.monotonic() + timeout
        self._next_bookmark = 0.0
        self._seen = version
        name = chosen.single_name()
        self._suffix = f"/{name}" if name else ""
        self._waiting: deque[Event] = deque()
        self._most, self._most_bytes = _MOST_HELD, _MOST_HELD_BYTES
        self._held: int | None = None
        self._notify: Callable[[], None] | None = None
        self._failure: Exception | None = None
        self._turn: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None

    async def begin(self) -> AsyncGenerator[Sequence[Change], None]:
        registry, params, version = self._registry, self._request.params, self._version
        prefix = registry.prefix(self.resource, self._request.namespace)
        initial = boolean(params, "sendInitialEvents") if "sendInitialEvents" in params else version == 0
        existing: Sequence[Record] = ()
        if initial:
            if version > registry.store.revision:
                await registry.store.wait_revision(version, self._timeout)
            existing, self._seen, _ = registry.store.list(prefix)
        elif version == 0:
            self._seen = registry.store.revision
        start = self._seen
        try:
            self._subscription = await registry.store.watch(self._watched(prefix), start, self._put)
        except Compacted as error:
            self._end()
            yield [Change("ERROR", obj=Expired(f"too old resource version: {start} ({error.revision})").to_status())]
            return
        self.hold(held=True)
        self._most, self._most_bytes = len(self._waiting) + _MOST_HELD, (self._held or 0) + _MOST_HELD_BYTES
        if initial:
            await registry.ready(existing, self.resource)
            chosen = self._chosen
            found = [r for r in existing if chosen.empty or chosen.matches(registry.obj(r, self.resource))]
            for at in range(0, len(found), _BATCH):
                yield [Change("ADDED", record) for record in found[at : at + _BATCH]]
            if self._bookmarks:
                yield [bookmark(self._request, start, {INITIAL_END: "true"})]
        self._next_bookmark = self._bookmark_after(clock.monotonic())

    def _watched(self, prefix: str) -> str:
        """Return what is watched in the store: a single object where the selection names it, else the collection."""
        whole = self._suffix and bool(self._request.namespace) is self.resource.namespaced
        return prefix[:-1] + self._suffix if whole else prefix

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def _put(self, events: Sequence[Event]) -> None:
        """Take a batch (the sink of the store's watch)."""
        if self._suffix:
            events = [event for event in events if event.record.key.endswith(self._suffix)]
            if not events:
                return
        told = bool(self._waiting)
        self._waiting.extend(events)
        if self._held is not None:
            self._held += sum(len(event.record.value) for event in events)
            if len(self._waiting) > self._most or self._held > self._most_bytes:
                self._end()
                told = False
        if not told and self._notify is not None:
            self._notify()

    def follow(self, notify: Callable[[], None]) -> None:
        self._notify, self._held = notify, None

    def hold(self, *, held: bool) -> None:
        self._held = sum(len(event.record.value) for event in self._waiting) if held else None

    async def idle(self) -> None:
        if self.over:
            return
        due = min(self._deadline, self._next_bookmark) if self._bookmarks else self._deadline
        loop = asyncio.get_running_loop()
        turn = self._turn = loop.create_future()
        timer = loop.call_at(due, self.interrupt)
        try:
            if self._failure is None:
                await turn
        finally:
            timer.cancel()
            self._turn = None
        if self._failure is not None:
            raise self._failure

    def interrupt(self, failure: Exception | None = None) -> None:
        self._failure = self._failure or failure
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def take(self, limit: int = _BATCH) -> list[Change]:
        waiting = self._waiting
        if not waiting:
            return self._quiet()
        changes: list[Change] = []
        convert = self._shared if self._chosen.empty else self._selected
        for _ in range(min(len(waiting), limit)):
            event = waiting.popleft()
            change = convert(event)
            if change is not None:
                changes.append(change)
        self._seen = event.record.revision
        return changes

    def _quiet(self) -> list[Change]:
        """Return a bookmark where one is due; end the watch when its time is up."""
        now = clock.monotonic()
        if now >= self._deadline:
            self._end()
        elif self._bookmarks and now >= self._next_bookmark:
            self._next_bookmark = self._bookmark_after(now)
            self._seen = max(self._seen, self._registry.store.revision)
            return [bookmark(self._request, self._seen)]
        return []

    def _bookmark_after(self, now: float) -> float:
        """Return when the next bookmark is due: after a minute, or shortly before the end; in a short watch, never."""
        due = min(now + _BOOKMARK_PERIOD, self._deadline - _LAST_BOOKMARK)
        return due if due > now else self._deadline

    async def stream(self) -> AsyncGenerator[Sequence[Change], None]:
        try:
            async for changes in self.begin():
                yield changes
            self.follow(self.interrupt)
            while not self.over:
                if not self._waiting:
                    await self.idle()
                changes = self.take(await self._ready())
                if changes:
                    self.hold(held=True)
                    yield changes
                    self.hold(held=False)
        finally:
            self.close()

    async def _ready(self) -> int:
        """Have the next events converted, where a webhook does that, and return how many: more may come meanwhile."""
        batch = list(islice(self._waiting, _BATCH))
        if self._registry.is_fetched(self.resource):
            before = [event.previous for event in batch if event.previous is not None]
            await self._registry.ready([event.record for event in batch] + before, self.resource)
        return len(batch)

    def _stop(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        self._waiting.clear()

    def close(self) -> None:
        self._stop()
        self._notify = None

    def _end(self) -> None:
        self.over = True
        self._stop()
        self.interrupt()

    def _shared(self, event: Event) -> Change:
        """Return what an event is to every watch that selects both states: one object, so that it is encoded once."""
        change: Change | None = event.memo
        if change is None:
            put = "MODIFIED" if event.previous is not None else "ADDED"
            change = event.memo = Change(put if event.type == PUT else "DELETED", event.record)
        return change

    def _selected(self, event: Event) -> Change | None:
        """Return what an event is to this watch: entering the selection is ADDED, leaving it DELETED."""
        registry, resource, chosen = self._registry, self.resource, self._chosen
        before = event.previous is not None and chosen.matches(registry.obj(event.previous, resource))
        if event.type != PUT:
            return self._shared(event) if before else None
        after = chosen.matches(registry.obj(event.record, resource))
        if after:
            entered = event.previous is not None and not before
            return Change("ADDED", event.record) if entered else self._shared(event)
        if not before or event.previous is None:
            return None
        # The object as it was when it was still selected, at the revision in which it left.
        last = dict(registry.obj(event.previous, resource))
        last["metadata"] = {**last["metadata"], "resourceVersion": str(event.record.revision)}
        return Change("DELETED", obj=last)


def bookmark(request: Request, revision: int, annotations: dict[str, str] | None = None) -> Change:
    """Return a bookmark at `revision`."""
    metadata: Object = {"resourceVersion": str(revision)}
    if annotations:
        metadata["annotations"] = annotations
    obj = {"kind": request.resource.kind, "apiVersion": request.resource.api_version, "metadata": metadata}
    return Change("BOOKMARK", obj=obj)
