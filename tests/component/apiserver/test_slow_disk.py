"""What clients hear while a write is still on its way to the disk."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.component.apiserver.conftest import KEY, TOKENS, Http
from tests.unit.store.threadwriter import ThreadWriter
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.store.logged import LoggedStore
from wherry.store.memory import MemoryLog
from wherry.store.protocol import Event

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
_AT_KEY = "/registry/core/configmaps/default/a"


class Disk(MemoryLog):
    """Takes what is written once it is `open`."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()

    def append(self, events: Sequence[Event]) -> None:
        self.open.wait()
        super().append(events)


class Slow:
    """A server over a disk that can be held up."""

    def __init__(self, http: Http, store: LoggedStore, disk: Disk) -> None:
        self.http = http
        self.disk = disk
        self._store = store

    async def wait_written(self) -> None:
        """Wait until a write of the object waits for the disk."""
        while (record := self._store.latest(_AT_KEY)) is None or record.revision <= self._store.revision:
            await self.http("GET", "/version")


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    disk = Disk()
    store = LoggedStore(disk, writer=lambda _: ThreadWriter(disk))
    options = ServerOptions(port=0)
    async with (
        ApiServer(store, options, issuer=ServiceAccountIssuer([KEY]), tokens=[TOKENS]) as server,
        ClientSession() as session,
    ):
        http = Http(session, f"http://127.0.0.1:{server.port}")
        await asyncio.gather(*(http("GET", "/version") for _ in range(4)))
        yield Slow(http, store, disk)
        disk.open.set()
    await store.close()


@pytest.mark.parametrize("verb", ["update", "delete"])
async def test_who_hears_of_a_conflict_finds_what_was_in_the_way(slow: Slow, verb: str) -> None:
    http = slow.http
    _, old = await http("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    version = old["metadata"]["resourceVersion"]
    stale: Any = {"preconditions": {"resourceVersion": version}}
    if verb == "update":
        stale = {"metadata": {"name": "a", "resourceVersion": version}}
    slow.disk.open.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(http("PUT", f"{CONFIGMAPS}/a", {"metadata": {"name": "a"}, "data": {"n": "1"}}))
        await slow.wait_written()
        second = group.create_task(http("PUT" if verb == "update" else "DELETE", f"{CONFIGMAPS}/a", stale))
        for _ in range(5):
            assert (await http("GET", f"{CONFIGMAPS}/a"))[1]["metadata"]["resourceVersion"] == version
        assert not second.done()
        slow.disk.open.set()
    assert (first.result()[0], second.result()[0]) == (200, 409)
    assert (await http("GET", f"{CONFIGMAPS}/a"))[1]["data"] == {"n": "1"}
