"""The file of audit events: one JSON object a line."""

import asyncio
import logging
import os
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import orjson

from wherry.apiserver.audit.policy import Policy
from wherry.apiserver.audit.record import Object
from wherry.util.metrics import COUNTER, Family, Sample
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

FAMILIES = {
    "apiserver_audit_event_total": Family(COUNTER, "Audit events that were made."),
    "apiserver_audit_level_total": Family(COUNTER, "Audit events by level."),
    "apiserver_audit_error_total": Family(COUNTER, "Audit events that could not be written."),
}


class AuditLog:
    """Writes the events of `policy` to `path`; at `max_bytes` the file is renamed, and `backups` of those are kept.

    `write` never waits: events are written in order by a task, off the loop, between `start` and `close`.
    """

    def __init__(self, policy: Policy, path: Path, *, max_bytes: int = 100 << 20, backups: int = 10) -> None:
        self.policy = policy
        self._path = path
        self._max_bytes, self._backups = max_bytes, backups
        self._waiting: deque[Object] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._scope = Scope()
        self._task: asyncio.Task[None] | None = None
        self._file: IO[bytes] | None = None
        self._levels: Counter[str] = Counter()
        self._lost = 0

    def write(self, event: Object | None) -> None:
        """Take an event that is to be written; None is none."""
        if event is not None:
            self._levels[event["level"]] += 1
            self._waiting.append(event)
            self._wake.set()

    async def start(self) -> None:
        """Begin to write."""
        await self._scope.__aenter__()
        self._task = self._scope.spawn(self._run(), name="audit log", guard=True)

    async def close(self) -> None:
        """Write what is left, and end."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._scope.__aexit__(None, None, None)

    async def _run(self) -> None:
        while not (self._stopping and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), 1000))]
                try:
                    await asyncio.to_thread(self._append, batch)
                except OSError as error:
                    self._lost += len(batch)
                    log.error("%d audit events are lost: %s", len(batch), error)
        if self._file is not None:
            self._file.close()

    def _append(self, batch: list[Object]) -> None:
        data = b"".join([orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in batch])
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._opened()
        if self._file.tell() + len(data) > self._max_bytes and self._file.tell():
            self._rotate()
        self._file.write(data)

    def _rotate(self) -> None:
        assert self._file is not None
        self._file.close()
        for number in range(self._backups, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        if self._backups == 0:
            self._path.unlink()
        self._file = self._opened()

    def _opened(self) -> IO[bytes]:
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics of auditing."""
        yield Sample("apiserver_audit_event_total", {}, sum(self._levels.values()))
        yield Sample("apiserver_audit_error_total", {}, self._lost)
        for level, number in self._levels.items():
            yield Sample("apiserver_audit_level_total", {"level": level}, number)
