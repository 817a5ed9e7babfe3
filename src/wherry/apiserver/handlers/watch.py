"""GET with ``watch``: initial objects, then changes, with selectors, bookmarks and a time limit."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import islice
from typing import Any

from wherry.api.errors import Expired
from wherry.apiserver.api import Api
from wherry.apiserver.fields import Selection
from wherry.apiserver.handlers.list import selection
from wherry.apiserver.query import boolean, integer, resource_version, validate_list
from wherry.apiserver.request import Change, Request, Watched
from wherry.store.protocol import PUT, Compacted, Event, Record
from wherry.util import clock

Object = dict[str, Any]

_BOOKMARK_PERIOD = 60.0
_DEFAULT_TIMEOUT = 1800.0
_BATCH = 500
_SHARE = 0.0001
"""Seconds between two batches for each watch of the same collection: thousands of deliveries a second then take about
half of the event loop's time, whatever is written, and the other half is left for those who write."""
_LONGEST_PAUSE = 0.05

INITIAL_END = "k8s.io/initial-events-end"


async def handle(api: Api, request: Request) -> Watched:
    """Answer with the stream of changes."""
    params = request.params
    validate_list(params, watch=True)
    chosen = selection(request)
    version = resource_version(params.get("resourceVersion", ""))
    timeout = float(integer(params, "timeoutSeconds") or _DEFAULT_TIMEOUT)
    return Watched(_stream(api, request, chosen, version, timeout), request.resource)


async def _stream(
    api: Api, request: Request, chosen: Selection, version: int, timeout: float
) -> AsyncGenerator[Sequence[Change], None]:
    registry, resource, params = api.registry, request.resource, request.params
    prefix = registry.prefix(resource, request.namespace)
    bookmarks = boolean(params, "allowWatchBookmarks")
    deadline = clock.monotonic() + timeout
    initial = boolean(params, "sendInitialEvents") if "sendInitialEvents" in params else version == 0
    waiting = _Waiting()
    start = version
    existing: Sequence[Record] = ()
    if initial:
        if version > registry.store.revision:
            await registry.store.wait_revision(version, timeout)
        existing, start, _ = registry.store.list(prefix)
    elif version == 0:
        start = registry.store.revision
    try:
        subscription = await registry.store.watch(prefix, start, waiting.put)
    except Compacted as error:
        text = f"too old resource version: {start} ({error.revision})"
        yield [Change("ERROR", obj=Expired(text).to_status())]
        return
    try:
        if initial:
            await registry.ready(existing, resource)
            found = [r for r in existing if chosen.empty or chosen.matches(registry.obj(r, resource))]
            for at in range(0, len(found), _BATCH):
                yield [Change("ADDED", record) for record in found[at : at + _BATCH]]
            if bookmarks and "sendInitialEvents" in params:
                yield [bookmark(request, start, {INITIAL_END: "true"})]
        async for batch in _live(api, request, chosen, waiting, deadline, bookmarks, start):
            yield batch
            if request.paced:
                waiting.pause = min(subscription.peers * _SHARE, _LONGEST_PAUSE)
    finally:
        subscription.close()


async def _live(
    api: Api,
    request: Request,
    chosen: Selection,
    waiting: "_Waiting",
    deadline: float,
    bookmarks: bool,
    seen: int,
) -> AsyncGenerator[Sequence[Change], None]:
    next_bookmark = min(clock.monotonic() + _BOOKMARK_PERIOD, deadline - 2)
    while True:
        now = clock.monotonic()
        if not waiting.events:
            if now >= deadline:
                return
            if bookmarks and now >= next_bookmark:
                seen = max(seen, api.registry.store.revision)
                yield [bookmark(request, seen)]
                next_bookmark = now + _BOOKMARK_PERIOD if deadline - now > 2 else deadline
            until = min(deadline, next_bookmark) if bookmarks else deadline
            if not await waiting.wait(until):
                continue
        await waiting.gather()
        # Counted before they are converted: what comes meanwhile is not.
        due = min(len(waiting.events), _BATCH)
        if api.registry.is_fetched(request.resource):
            await _ready(api, request, waiting.events, due)
        changes: list[Change] = []
        for _ in range(due):
            event = waiting.events.popleft()
            seen = event.record.revision
            change = _change(api, request, chosen, event)
            if change is not None:
                changes.append(change)
        if changes:
            yield changes


class _Waiting:
    """The events that one watch has not told yet."""

    __slots__ = ("_told", "_wake", "events", "pause")

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.pause = 0.0
        self._told = 0.0
        self._wake: asyncio.Future[bool] | None = None

    def put(self, events: Sequence[Event]) -> None:
        """Take a batch (the sink of the store's watch)."""
        self.events.extend(events)
        _settle(self._wake, True)

    async def wait(self, until: float) -> bool:
        """Wait for events, at most until a moment of the loop's clock; tell whether there are any.

        Thousands of watches wake for every write: a bare future costs a quarter of an event with a timeout.
        """
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_at(until, _settle, self._wake, False)
        try:
            return await self._wake
        finally:
            timer.cancel()
            self._wake = None

    async def gather(self) -> None:
        """Let events come together where the last ones were told less than `pause` seconds ago.

        All watches wait for the same moments, so that they tell the same batch, which is encoded once.
        """
        now = clock.monotonic()
        if now - self._told < self.pause:
            await clock.sleep(self.pause - now % self.pause)
            now = clock.monotonic()
        self._told = now


def _settle(future: "asyncio.Future[bool] | None", result: bool) -> None:
    if future is not None and not future.done():
        future.set_result(result)


async def _ready(api: Api, request: Request, events: Iterable[Event], count: int) -> None:
    """Have the next `count` events converted, where a webhook does that."""
    batch = list(islice(events, count))
    records = [event.record for event in batch] + [event.previous for event in batch if event.previous is not None]
    await api.registry.ready(records, request.resource)


def _change(api: Api, request: Request, chosen: Selection, event: Event) -> Change | None:
    """Return what an event is to this watch: entering the selection is ADDED, leaving it DELETED."""
    if chosen.empty:
        change: Change | None = event.memo
        if change is None:
            put = "MODIFIED" if event.previous is not None else "ADDED"
            change = event.memo = Change(put if event.type == PUT else "DELETED", event.record)
        return change
    registry, resource = api.registry, request.resource
    before = event.previous is not None and chosen.matches(registry.obj(event.previous, resource))
    if event.type != PUT:
        return Change("DELETED", event.record) if before else None
    after = chosen.matches(registry.obj(event.record, resource))
    if after:
        return Change("MODIFIED" if before else "ADDED", event.record)
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
