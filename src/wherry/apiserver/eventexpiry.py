"""Events are forgotten an hour after they were last written (kube-apiserver's ``--event-ttl``).

Upstream a lease of the store ends them. Here their own times tell: they hold after a restart too.
"""

import logging

import orjson

from wherry.api.errors import StatusError
from wherry.api.resources import EVENTS
from wherry.client.client import Client
from wherry.store.protocol import Record, Store
from wherry.util import clock
from wherry.util.tasks import Service

log = logging.getLogger(__name__)

TTL = 3600.0
_STEP = 60.0
_BATCH = 100


class EventExpiry(Service):
    """``async with EventExpiry(store, prefix, client)``: every minute `client` deletes the events below `prefix` whose
    last write was longer ago than `TTL` seconds. One that is written meanwhile stays."""

    name = "events"

    def __init__(self, store: Store, prefix: str, client: Client) -> None:
        super().__init__()
        self._store = store
        self._prefix = prefix
        self._client = client
        self._ends: dict[str, tuple[int, float]] = {}

    async def _run(self) -> None:
        while True:
            await clock.sleep(_STEP)
            for record in await self._over():
                await self._delete(record)

    async def _over(self) -> list[Record]:
        """Return the events that are over. Each revision of an event is read once, a few at a time."""
        over, ends, read = [], {}, 0
        for record in self._store.list(self._prefix).records:
            known = self._ends.get(record.key)
            if known is None or known[0] != record.revision:
                known = record.revision, _written(record) + TTL
                read += 1
                if read % _BATCH == 0:
                    await clock.sleep(0)
            ends[record.key] = known
            if known[1] <= clock.seconds():
                over.append(record)
        self._ends = ends
        return over

    async def _delete(self, record: Record) -> None:
        namespace, _, name = record.key.removeprefix(self._prefix).partition("/")
        options = {"preconditions": {"resourceVersion": str(record.revision)}}
        try:
            await self._client.delete(EVENTS, name, namespace, options=options)
        except StatusError as error:
            log.debug("event %s/%s stays: %s", namespace, name, error)
        except OSError as error:
            log.warning("cannot delete old events: %s", error)


def _written(record: Record) -> float:
    """Return when an event was last written, in seconds since the epoch; now where that cannot be read."""
    try:
        md = orjson.loads(record.value)["metadata"]
        times = [md["creationTimestamp"], *(entry.get("time") for entry in md.get("managedFields") or ())]
        return max(clock.parse(time).timestamp() for time in times if time)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s: %s", record.key, error)
        return clock.seconds()
