"""Events do not stay for ever."""

import asyncio

import orjson

from wherry.api import meta
from wherry.api.resources import EVENTS
from wherry.apiserver.eventexpiry import TTL, EventExpiry
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.store.memory import MemoryStore
from wherry.util import clock, virtualtime

PREFIX = "/registry/core/events/"


def test_an_event_goes_an_hour_after_its_last_write() -> None:
    async def main() -> None:
        store, fake = MemoryStore(), FakeTransport()
        start = clock.timestamp()
        later = clock.timestamp(clock.now().replace(minute=clock.now().minute + 30))
        for name, time in (("once", start), ("again", later)):
            fields = [{"manager": "m", "operation": "Update", "time": time}]
            event = {
                "kind": "Event",
                "apiVersion": "v1",
                "metadata": {"name": name, "namespace": "a", "creationTimestamp": start, "managedFields": fields},
            }
            fake.put(event)
            value = orjson.dumps(event)
            await store.write(f"{PREFIX}a/{name}", lambda revision, value=value: value, expected=0)  # type: ignore[misc]
        async with EventExpiry(store, PREFIX, Client(fake)):
            await asyncio.sleep(TTL - 1)
            assert [meta.name(event) for event in fake.list(EVENTS)] == ["again", "once"]
            await asyncio.sleep(61)
            assert [meta.name(event) for event in fake.list(EVENTS)] == ["again"]
            await asyncio.sleep(TTL / 2)
            assert fake.list(EVENTS) == []
        await store.close()

    virtualtime.run(main())
