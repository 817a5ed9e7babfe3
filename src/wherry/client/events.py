"""Events of components: recorded without waiting, repeated ones counted, floods cut off.

The rules are those of client-go's event correlator: events of one object that differ only in their message are combined
after ten in ten minutes, an equal event raises the count of the one that is there, and one source may write 25 events
about an object at once and then one every five minutes.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import EVENTS
from wherry.client.client import Client
from wherry.util import clock

log = logging.getLogger(__name__)

NORMAL = "Normal"
WARNING = "Warning"

_QUEUE = 5000
_TOGETHER = 64
"""How many events are written side by side: they share a commit."""

_CACHE = 4096
_SIMILAR = 10
_SIMILAR_INTERVAL = 600.0
_BURST = 25
_REFILL = 1 / 300
_TRIES = 12
_TRY_AGAIN = 10.0
_PATIENCE = 2.0
_LOOK_AGAIN = 0.05

V = TypeVar("V")


class _Recent(OrderedDict[Any, V], Generic[V]):
    """A mapping that keeps the entries used last."""

    def touch(self, key: Any, value: V) -> V:
        self[key] = value
        self.move_to_end(key)
        if len(self) > _CACHE:
            self.popitem(last=False)
        return value


@dataclass(slots=True)
class _Similar:
    last: float
    messages: set[str] = field(default_factory=set)


class _Written(NamedTuple):
    """What an event that repeats needs of the one that the server has: thousands are remembered."""

    name: str
    first: str
    times: int


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class Correlator:
    """Decides what becomes of an event; pure but for the clock's time that it is given."""

    _similar: _Recent[_Similar] = field(default_factory=_Recent)
    _buckets: _Recent[_Bucket] = field(default_factory=_Recent)
    _written: _Recent[_Written] = field(default_factory=_Recent)

    def admit(self, event: Object, *, now: float) -> bool:
        """Tell whether the spam filter lets the event of one source about one object through."""
        key = (*_source(event), *_about(event))
        bucket = self._buckets.get(key) or _Bucket(float(_BURST), now)
        bucket.tokens = min(float(_BURST), bucket.tokens + (now - bucket.at) * _REFILL)
        bucket.at = now
        self._buckets.touch(key, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def correlate(self, event: Object, *, now: float) -> tuple[Object, Any]:
        """Return the event to write, combined with similar ones, and the key for `repeats` and `wrote`."""
        group = (*_source(event), *_about(event), event["type"], event["reason"], event.get("action", ""))
        record = self._similar.get(group)
        if record is None or now - record.last > _SIMILAR_INTERVAL:
            record = _Similar(now)
        record.last = now
        record.messages.add(event["message"])
        self._similar.touch(group, record)
        if len(record.messages) < _SIMILAR:
            return event, (*group, event["message"])
        # One of the messages is forgotten: the group stays combined as long as the interval lasts.
        record.messages.discard(next(iter(record.messages)))
        return {**event, "message": "(combined from similar events): " + event["message"]}, group

    def repeats(self, key: Any, event: Object) -> tuple[Object, bool]:
        """Return the event, and whether it repeats one already written: then it has its name, and its count raised."""
        old = self._written.get(key)
        if old is None:
            return event, False
        metadata = {**event["metadata"], "name": old.name}
        return {**event, "metadata": metadata, "firstTimestamp": old.first, "count": old.times + 1}, True

    def wrote(self, key: Any, event: Object) -> None:
        """Remember what the server holds for `key`."""
        self._written.touch(key, _Written(event["metadata"]["name"], event["firstTimestamp"], event["count"]))


class EventRecorder:
    """Records events as one component.

    ``event`` only queues; `run` writes (give it a task). When thousands wait, further ones are dropped: events are
    help for people, never part of a controller's work. While `quiet` says no, an event waits, but at most two seconds:
    its writing takes time from what it tells of.
    """

    def __init__(
        self, client: Client, component: str, host: str = "", *, quiet: Callable[[], bool] = lambda: True
    ) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._quiet = quiet
        self._queue: asyncio.Queue[tuple[float, Object]] = asyncio.Queue(_QUEUE)
        self._correlator = Correlator()
        self._last_stamp = 0

    def event(
        self,
        obj: Object,
        type: str,
        reason: str,
        message: str,
        *,
        field_path: str = "",
        action: str = "",
        related: Object | None = None,
        annotations: dict[str, str] | None = None,
    ) -> None:
        """Record that something happened to `obj`: `type` is Normal or Warning, `reason` a CamelCase word.

        `field_path` names a part of it (``spec.containers{web}``); `related` is another object that it is about.
        """
        at = clock.timestamp()
        source = {"component": self._component, "host": self._host}
        event: Object = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": f"{obj['metadata']['name']}.{self._stamp():x}",
                "namespace": meta.namespace(obj) or "default",
            },
            "involvedObject": reference(obj, field_path=field_path),
            "reason": reason,
            "message": message[:1024],
            "source": {name: value for name, value in source.items() if value},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "type": type,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        if annotations:
            event["metadata"]["annotations"] = dict(annotations)
        if action:
            event["action"] = action
        if related is not None:
            event["related"] = reference(related)
        try:
            self._queue.put_nowait((clock.monotonic(), event))
        except asyncio.QueueFull:
            log.debug("event dropped: %s %s", reason, message)

    async def run(self) -> None:
        """Write recorded events until cancelled."""
        while True:
            recorded, event = await self._queue.get()
            while not self._quiet() and clock.monotonic() < recorded + _PATIENCE:
                await clock.sleep(_LOOK_AGAIN)
            waiting = [event, *(self._queue.get_nowait()[1] for _ in range(min(self._queue.qsize(), _TOGETHER)))]
            try:
                await self._write_all(waiting)
            finally:
                for _ in waiting:
                    self._queue.task_done()

    async def flush(self) -> None:
        """Wait until everything recorded so far was written or given up; `run` must be running."""
        await self._queue.join()

    def _stamp(self) -> int:
        self._last_stamp = max(self._last_stamp + 1, int(clock.seconds() * 1e9))
        return self._last_stamp

    async def _write_all(self, events: Sequence[Object]) -> None:
        """Write events side by side, those that repeat each other one after the other."""
        now = clock.monotonic()
        chains: dict[Any, list[Object]] = {}
        for found in events:
            event, key = self._correlator.correlate(found, now=now)
            if self._correlator.admit(event, now=now):
                chains.setdefault(key, []).append(event)
        if len(chains) < 2:
            for key, chain in chains.items():
                await self._write(key, chain)
            return
        async with asyncio.TaskGroup() as group:
            for key, chain in chains.items():
                group.create_task(self._write(key, chain))

    async def _write(self, key: Any, chain: Sequence[Object]) -> None:
        for event in chain:
            for _ in range(_TRIES):
                try:
                    self._correlator.wrote(key, await self._send(*self._correlator.repeats(key, event)))
                    break
                except errors.StatusError as error:
                    log.debug("event rejected: %s", error)
                    break
                except OSError as error:
                    log.debug("cannot write an event, trying again: %s", error)
                    await clock.sleep(_TRY_AGAIN)

    async def _send(self, event: Object, repeats: bool) -> Object:
        namespace, name = event["metadata"]["namespace"], event["metadata"]["name"]
        if repeats:
            patch = {field: event[field] for field in ("count", "lastTimestamp", "message")}
            try:
                return await self._client.patch(EVENTS, name, patch, namespace)
            except errors.NotFound:
                # It has expired: write it anew under a name of its own.
                subject = event["involvedObject"]["name"]
                event = {**event, "metadata": {**event["metadata"], "name": f"{subject}.{self._stamp():x}"}}
        return await self._client.create(EVENTS, event, namespace)


def reference(obj: Object, *, field_path: str = "") -> Object:
    """Return an ObjectReference to `obj`."""
    md = obj["metadata"]
    full = {
        "kind": obj.get("kind"),
        "namespace": md.get("namespace"),
        "name": md.get("name"),
        "uid": md.get("uid"),
        "apiVersion": obj.get("apiVersion"),
        "resourceVersion": md.get("resourceVersion"),
        "fieldPath": field_path,
    }
    return {name: value for name, value in full.items() if value}


def _source(event: Object) -> tuple[str, ...]:
    return event["source"].get("component", ""), event["source"].get("host", "")


def _about(event: Object) -> tuple[str, ...]:
    subject = event["involvedObject"]
    return tuple(subject.get(part, "") for part in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath"))
