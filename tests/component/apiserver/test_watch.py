"""Watches, over HTTP and in process."""

import asyncio
from typing import Any

import orjson

from tests.component.apiserver.conftest import ADMIN
from wherry.api.resources import CONFIGMAPS
from wherry.apiserver import negotiate, registry
from wherry.apiserver.encode import WatchEncoder
from wherry.apiserver.handlers import watch
from wherry.apiserver.request import Request
from wherry.apiserver.server import ApiServer
from wherry.client.client import Client
from wherry.client.transport import WatchEvent


async def take(events: Any, count: int) -> list[WatchEvent]:
    found: list[WatchEvent] = []
    async for event in events:
        found.append(event)
        if len(found) == count:
            break
    await events.aclose()
    return found


def client_of(server: ApiServer) -> Client:
    return Client(server.transport(ADMIN))


def configmap(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}}


async def test_an_object_enters_and_leaves_a_selector(server: ApiServer) -> None:
    client = client_of(server)
    start = str(server.registry.store.revision)
    created = await client.create(CONFIGMAPS, configmap("c"))
    created = await client.update(CONFIGMAPS, {**created, "metadata": {**created["metadata"], "labels": {"t": "x"}}})
    await client.update(CONFIGMAPS, {**created, "metadata": {**created["metadata"], "labels": {}}})
    events = client.watch(CONFIGMAPS, "default", resourceVersion=start, labelSelector="t=x")
    first, second = await take(events, 2)
    assert [first.type, second.type] == ["ADDED", "DELETED"]
    assert second.object["metadata"]["labels"] == {"t": "x"}
    assert int(second.object["metadata"]["resourceVersion"]) > int(first.object["metadata"]["resourceVersion"])


async def test_a_deletion_carries_its_own_revision(server: ApiServer) -> None:
    client = client_of(server)
    created = await client.create(CONFIGMAPS, configmap("c"))
    version = created["metadata"]["resourceVersion"]
    await client.delete(CONFIGMAPS, "c", "default")
    (event,) = await take(client.watch(CONFIGMAPS, "default", resourceVersion=version), 1)
    assert event.type == "DELETED"
    assert int(event.object["metadata"]["resourceVersion"]) > int(version)


async def test_initial_events_end_with_a_marked_bookmark(server: ApiServer) -> None:
    client = client_of(server)
    await client.create(CONFIGMAPS, configmap("c"))
    events = client.watch(
        CONFIGMAPS, "default", sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    )
    added, bookmark = await take(events, 2)
    assert (added.type, bookmark.type) == ("ADDED", "BOOKMARK")
    assert bookmark.object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_of_a_compacted_revision_gets_an_error_event(server: ApiServer) -> None:
    client = client_of(server)
    start = str(server.registry.store.revision)
    await client.create(CONFIGMAPS, configmap("c"))
    await server.registry.store.compact(server.registry.store.revision)
    (event,) = await take(client.watch(CONFIGMAPS, "default", resourceVersion=start), 1)
    assert (event.type, event.object["code"], event.object["reason"]) == ("ERROR", 410, "Expired")


async def test_watchers_share_one_decoded_object(server: ApiServer) -> None:
    client = client_of(server)
    start = str(server.registry.store.revision)
    watches = [asyncio.ensure_future(take(client.watch(CONFIGMAPS, resourceVersion=start), 1)) for _ in range(2)]
    await client.create(CONFIGMAPS, configmap("c"))
    (first,), (second,) = await asyncio.gather(*watches)
    assert first.object is second.object


async def test_informers_get_objects_without_managed_fields_and_may_write_them_back(server: ApiServer) -> None:
    client = client_of(server)
    start = str(server.registry.store.revision)
    created = await client.create(CONFIGMAPS, configmap("c", t="x"))
    (event,) = await take(client.watch(CONFIGMAPS, resourceVersion=start), 1)
    assert "managedFields" in created["metadata"] and "managedFields" not in event.object["metadata"]
    updated = await client.update(CONFIGMAPS, {**event.object, "data": {"k": "v"}})
    managers = {(entry["operation"], entry["manager"]) for entry in updated["metadata"]["managedFields"]}
    assert managers == {(entry["operation"], entry["manager"]) for entry in created["metadata"]["managedFields"]}


async def test_decoded_objects_are_few_however_many_there_are(server: ApiServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "_DECODED", 3)
    client = client_of(server)
    for number in range(8):
        await client.create(CONFIGMAPS, configmap(f"c-{number}"))
    records = server.registry.store.list(server.registry.prefix(CONFIGMAPS, "default")).records
    assert sum(1 for record in records if record.memo is not None and record.memo.obj is not None) <= 3
    assert [server.registry.obj(record)["metadata"]["name"] for record in records] == [f"c-{n}" for n in range(8)]


async def test_many_watches_that_share_batches_tell_every_event_in_order(server: ApiServer) -> None:
    api, client = server.api, client_of(server)
    start, count = str(server.registry.store.revision), 60

    async def follow() -> tuple[list[str], int]:
        params = {"watch": "true", "resourceVersion": start}
        request = Request("watch", CONFIGMAPS, "default", "", "", ADMIN, params)
        watched = await watch.handle(api, request)
        encoder = WatchEncoder(server.registry, CONFIGMAPS, negotiate.PLAIN, "")
        lines: list[bytes] = []
        batches = 0
        async for changes in watched.events:
            lines += encoder.encode(changes).splitlines()
            batches += 1
            if len(lines) >= count:
                return [orjson.loads(line)["object"]["metadata"]["name"] for line in lines], batches
        raise AssertionError

    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(follow()) for _ in range(30)]
        await asyncio.sleep(0)
        for number in range(count):
            await client.create(CONFIGMAPS, configmap(f"c-{number}"))
    wanted = [f"c-{number}" for number in range(count)]
    assert all(one.result()[0] == wanted for one in watches)
    assert all(one.result()[1] < count for one in watches), "what is written quickly goes together"
