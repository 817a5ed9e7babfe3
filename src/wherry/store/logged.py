"""The half of a store that is in memory: the latest records, the recent events, the watchers and the writes under way.

A write takes its revision at the call and joins the batch that is committed next. While one batch is on its way to the
disk the next one gathers, so any number of concurrent writes needs one fsync. Only when a batch is durable do its
records become visible, its watchers hear of it, and its writers go on, in this order.
"""

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

from sortedcontainers import SortedList

from wherry.store.hub import Watcher, WatchHub
from wherry.store.log import Log, end_of
from wherry.store.protocol import DELETE, PUT, Compacted, Event, FutureRevision, Listing, Mismatch, Record
from wherry.store.writer import Writer

log = logging.getLogger(__name__)

T = TypeVar("T")

WINDOW_EVENTS = 4096
WINDOW_BYTES = 8 << 20
"""How many events, and bytes in them, are kept in memory; older ones are read from the log."""

REPLAY_EVENTS = 1000
COMPACT_REVISIONS = 500
"""Steps in which the log is read and compacted, so that neither holds up the writes for long."""

_Batch = list[tuple[Event, "asyncio.Future[None]"]]
_Events = list[Event]


class LoggedStore:
    """A `protocol.Store` above `log`.

    `writer` makes, of the revision that was loaded, who does the commits and compactions of a log that blocks, `reader`
    does its reads of the past; with None they are done at once on the event loop.
    """

    def __init__(
        self, log: Log, *, writer: Callable[[int], Writer] | None = None, reader: Executor | None = None
    ) -> None:
        self._log = log
        self._reader = reader
        loaded = log.load()
        self._records: dict[str, Record] = {record.key: record for record in loaded.records}
        self._keys: Any = SortedList(self._records)
        self._revision = self._assigned = loaded.revision
        self._compacted = loaded.compacted
        self._window: deque[Event] = deque()
        self._window_bytes = 0
        self._writer = writer(loaded.revision) if writer is not None else None
        self._window_start = loaded.revision  # every event after this revision is in the window
        self._hub = WatchHub()
        self._pending: dict[str, Event] = {}
        self._queue: _Batch = []
        self._committing = False
        self._closed = False
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._idle: asyncio.Future[None] | None = None  # awaited by close()

    # ---- reading

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def compacted(self) -> int:
        return self._compacted

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def latest(self, key: str) -> Record | None:
        event = self._pending.get(key)
        if event is None:
            return self._records.get(key)
        return event.record if event.type == PUT else None

    def list(self, prefix: str, *, after: str = "", limit: int = 0) -> Listing:
        start, end = self._bounds(prefix, after)
        stop = min(start + limit, end) if limit else end
        records = self._records
        return Listing([records[key] for key in self._keys.islice(start, stop)], self._revision, end - stop)

    def count(self, prefix: str) -> int:
        start, end = self._bounds(prefix, "")
        return end - start

    async def list_at(self, prefix: str, revision: int, *, after: str = "", limit: int = 0) -> Listing:
        if revision > self._revision:
            raise FutureRevision(self._revision)
        if revision < self._compacted:
            raise Compacted(self._compacted)
        then: dict[str, Record | None] = {}
        position = revision
        while position < self._window_start:
            until = self._window_start
            past = await self._run(self._reader, self._log.events, prefix, position, until, REPLAY_EVENTS)
            if revision < self._compacted:  # compacted while it was read
                raise Compacted(self._compacted)
            for event in past:
                then.setdefault(event.record.key, event.previous)
            position = past[-1].record.revision if len(past) == REPLAY_EVENTS else until
        for event in self._recent(prefix, position):
            then.setdefault(event.record.key, event.previous)
        return self._rewind(prefix, revision, then, after, limit)

    def _bounds(self, prefix: str, after: str) -> tuple[int, int]:
        start = self._keys.bisect_right(after) if after >= prefix else self._keys.bisect_left(prefix)
        return start, max(start, self._keys.bisect_left(end_of(prefix)))

    def _rewind(self, prefix: str, revision: int, then: Mapping[str, Record | None], after: str, limit: int) -> Listing:
        """List as of `revision`: what changed since was as `then` says. Costs what changed since, and the limit."""
        start, end = self._bounds(prefix, after)
        changed = [(key, old) for key, old in then.items() if key > after]
        revived = sorted(key for key, old in changed if old is not None and key not in self._records)
        unborn = sum(1 for key, old in changed if old is None and key in self._records)
        total = end - start + len(revived) - unborn
        found = self._merged(merge(self._keys.islice(start, end), revived), then)
        records = list(islice(found, limit or None))
        return Listing(records, revision, total - len(records))

    def _merged(self, keys: Iterator[str], then: Mapping[str, Record | None]) -> Iterator[Record]:
        for key in keys:
            record = then[key] if key in then else self._records[key]
            if record is not None:
                yield record

    # ---- writing

    async def write(self, key: str, make: Callable[[int], bytes], *, expected: int, delete: bool = False) -> Record:
        if self._closed:
            raise OSError(errno.EBADF, "the store is closed")
        current = self.latest(key)
        if (current.revision if current else 0) != expected or (delete and current is None):
            raise Mismatch(key, current)
        revision = self._assigned + 1
        record = Record(key, make(revision), revision, current.created if current else revision)
        self._assigned = revision
        event = Event(DELETE if delete else PUT, record, current)
        loop = asyncio.get_running_loop()
        durable = loop.create_future()
        self._pending[key] = event
        self._queue.append((event, durable))
        if not self._committing:
            self._committing = True
            loop.call_soon(self._commit)
        await durable
        return record

    def _commit(self) -> None:
        batch, self._queue = self._queue, []
        events = [event for event, _ in batch]
        if self._writer is not None:
            self._writer.append(events, partial(self._committed, batch))
            return
        error = None
        try:
            self._log.append(events)
        except OSError as caught:
            error = caught
        self._committed(batch, error)

    def _committed(self, batch: _Batch, error: OSError | None) -> None:
        if error is not None:
            self._undo(batch, error)
        under_way = bool(self._queue) and self._writer is not None
        if under_way:
            self._commit()  # first of all: the disk works while the others hear of the batch that is on it
        if error is None:
            self._publish(batch)
        if under_way:
            return
        if self._queue:
            asyncio.get_running_loop().call_soon(self._commit)
        else:
            self._committing = False
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

    def _undo(self, batch: _Batch, error: OSError) -> None:
        """Fail the batch and all that was written on top of it. Their revisions are not used again: somebody may
        still hold one as the expectation of a write."""
        log.error("a commit of %d writes failed", len(batch), exc_info=error)
        lost, self._queue = batch + self._queue, []
        self._pending.clear()
        code = error.errno or errno.EIO
        for _, durable in lost:
            if not durable.done():
                durable.set_exception(OSError(code, str(error)))

    def _publish(self, batch: _Batch) -> None:
        events = [event for event, _ in batch]
        for event in events:
            record = event.record
            key = record.key
            if self._pending[key] is event:
                del self._pending[key]
            if event.type == PUT:
                self._records[key] = record
                if event.previous is None:
                    self._keys.add(key)
            else:
                del self._records[key]
                self._keys.remove(key)
            self._window_bytes += len(record.value)
        self._window.extend(events)
        self._revision = events[-1].record.revision
        self._trim()
        self._hub.dispatch(events)
        for _, durable in batch:
            if not durable.done():
                durable.set_result(None)
        self._wake()

    def _trim(self) -> None:
        while len(self._window) > WINDOW_EVENTS or self._window_bytes > WINDOW_BYTES:
            oldest = self._window.popleft().record
            self._window_bytes -= len(oldest.value)
            self._window_start = oldest.revision

    # ---- watching

    async def watch(self, prefix: str, revision: int, sink: Callable[[Sequence[Event]], None]) -> Watcher:
        watcher = Watcher(self._hub, prefix, sink)
        if revision > self._revision:
            watcher = Watcher(self._hub, prefix, lambda events: _after(revision, events, sink))
        position = revision
        while True:
            if position < self._compacted:
                raise Compacted(self._compacted)
            if position >= self._window_start or watcher.closed:
                break
            until = self._revision
            past = await self._run(self._reader, self._log.events, prefix, position, until, REPLAY_EVENTS)
            if position < self._compacted:
                raise Compacted(self._compacted)
            watcher.deliver(past)
            position = past[-1].record.revision if len(past) == REPLAY_EVENTS else until
        watcher.deliver(self._recent(prefix, position))
        if not watcher.closed:
            self._hub.add(watcher)
        return watcher

    def _recent(self, prefix: str, after: int) -> _Events:
        found: _Events = []
        for event in reversed(self._window):
            if event.record.revision <= after:
                break
            if event.record.key.startswith(prefix):
                found.append(event)
        found.reverse()
        return found

    async def wait_revision(self, revision: int, timeout: float) -> bool:
        if self._revision >= revision:
            return True
        reached = asyncio.get_running_loop().create_future()
        waiter = (revision, reached)
        self._waiters.append(waiter)
        try:
            await asyncio.wait_for(reached, timeout)
        except TimeoutError:
            pass
        finally:
            self._waiters.remove(waiter)
        return self._revision >= revision

    def _wake(self) -> None:
        for revision, reached in self._waiters:
            if revision <= self._revision and not reached.done():
                reached.set_result(None)

    # ---- upkeep

    async def compact(self, revision: int) -> None:
        start, self._compacted = self._compacted, max(self._compacted, min(revision, self._revision))
        while start < self._compacted:
            until = min(start + COMPACT_REVISIONS, self._compacted)
            if self._writer is not None:
                await self._writer.compact(start, until)
            else:
                self._log.compact(start, until)
            start = until

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._committing:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        if self._writer is not None:
            await self._writer.close()
        if self._reader is not None:
            await asyncio.to_thread(self._reader.shutdown)
        self._log.close()

    async def _run(self, executor: Executor | None, work: Callable[..., T], *args: Any) -> T:
        if executor is None:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(executor, work, *args)


def _after(revision: int, events: Sequence[Event], sink: Callable[[Sequence[Event]], None]) -> None:
    wanted = [event for event in events if event.record.revision > revision]
    if wanted:
        sink(wanted)
