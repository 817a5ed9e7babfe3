"""Watches, over HTTP and in process."""

import asyncio
import socket
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from tests.component.apiserver.conftest import ADMIN
from wherry.api.resources import CONFIGMAPS
from wherry.apiserver import negotiate, registry
from wherry.apiserver.encode import Shared, WatchEncoder
from wherry.apiserver.handlers import watch
from wherry.apiserver.request import Request
from wherry.apiserver.server import ApiServer
from wherry.client.client import Client
from wherry.client.informer import InformerFactory
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


@pytest.mark.parametrize(
    "asked", [{"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}, {"resourceVersion": "0"}, {}]
)
async def test_initial_events_end_with_a_marked_bookmark(server: ApiServer, asked: dict[str, str]) -> None:
    client = client_of(server)
    await client.create(CONFIGMAPS, configmap("c"))
    events = client.watch(CONFIGMAPS, "default", allowWatchBookmarks="true", **asked)
    added, bookmark = await take(events, 2)
    assert (added.type, bookmark.type) == ("ADDED", "BOOKMARK")
    assert bookmark.object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_too_short_for_a_last_bookmark_has_none(server: ApiServer) -> None:
    client = client_of(server)
    await client.create(CONFIGMAPS, configmap("c"))
    start = str(server.registry.store.revision)
    asked = {"resourceVersion": start, "allowWatchBookmarks": "true"}
    assert await take(client.watch(CONFIGMAPS, "default", timeoutSeconds="1", **asked), 1) == []
    (last,) = await take(client.watch(CONFIGMAPS, "default", timeoutSeconds="3", **asked), 1)
    assert last.type == "BOOKMARK"


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


async def test_many_watches_tell_every_event_in_order_in_few_writes(server: ApiServer) -> None:
    client, count = client_of(server), 60
    path = f"/api/v1/namespaces/default/configmaps?watch=1&resourceVersion={server.registry.store.revision}"

    async def follow(session: ClientSession) -> list[dict[str, Any]]:
        async with session.get(f"http://127.0.0.1:{server.port}{path}") as answer:
            return [orjson.loads(await answer.content.readline())["object"] for _ in range(count)]

    before = asyncio.all_tasks()
    async with ClientSession(headers={"Authorization": "Bearer secret"}) as session, asyncio.TaskGroup() as group:
        watches = [group.create_task(follow(session)) for _ in range(30)]
        for number in range(count):
            await client.create(CONFIGMAPS, configmap(f"c-{number}"))
    _, left = await asyncio.wait(asyncio.all_tasks() - before, timeout=5)
    assert not left, "a watch ends when its client is gone, though nothing happens"
    for told in (one.result() for one in watches):
        assert [obj["metadata"]["name"] for obj in told] == [f"c-{number}" for number in range(count)]
        versions = [int(obj["metadata"]["resourceVersion"]) for obj in told]
        assert versions == sorted(set(versions))
    sizes = server.metrics.watch_sizes["", "v1", "ConfigMap"]
    assert sum(sizes.counts) < 30 * count, "what is written quickly goes together"


async def test_watches_that_tell_alike_are_encoded_once_and_no_others(server: ApiServer) -> None:
    client = client_of(server)
    start = str(server.registry.store.revision)
    for name, tier in (("a", "web"), ("b", "web"), ("c", "db"), ("d", "web")):
        await client.create(CONFIGMAPS, configmap(name, tier=tier, **{name: "x"}))
    shared: Shared = {}
    found = []
    for selector in ("tier=web", "tier", "tier in (web)", "!c", "!b"):
        params = {"resourceVersion": start, "labelSelector": selector}
        watched = await watch.handle(server.api, Request("watch", CONFIGMAPS, "default", "", "", ADMIN, params))
        async for _ in watched.begin():
            pass
        chunk = WatchEncoder(server.registry, CONFIGMAPS, negotiate.PLAIN, "").encode(watched.take(), shared)
        size, _, rest = chunk.partition(b"\r\n")
        assert rest[int(size, 16) :] == b"\r\n"
        names = [orjson.loads(line)["object"]["metadata"]["name"] for line in rest.splitlines() if line]
        found.append("".join(names))
        watched.close()
    assert found == ["abd", "abcd", "abd", "abd", "acd"]
    assert len(shared) == 3


async def test_a_watch_from_long_ago_is_told_everything(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_MOST_HELD", 5)
    client, before = client_of(server), asyncio.all_tasks()
    path = f"/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion={server.registry.store.revision}"
    for number in range(50):
        await client.create(CONFIGMAPS, configmap(f"c-{number}"))
    async with (
        ClientSession(headers={"Authorization": "Bearer secret"}) as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        told = [orjson.loads(line)["object"]["metadata"]["name"] async for line in answer.content]
    await asyncio.wait(asyncio.all_tasks() - before, timeout=5)
    assert told == [f"c-{number}" for number in range(50)]


async def test_a_watch_tells_tables_of_the_version_that_was_asked_for(server: ApiServer) -> None:
    await client_of(server).create(CONFIGMAPS, configmap("c"))
    path = f"http://127.0.0.1:{server.port}/api/v1/configmaps?watch=1&timeoutSeconds=1"
    asked = {"Authorization": "Bearer secret", "Accept": "application/json;as=Table;g=meta.k8s.io;v=v1beta1"}
    before = asyncio.all_tasks()
    async with ClientSession() as session, session.get(path, headers=asked) as answer:
        found = orjson.loads((await answer.read()).splitlines()[0])["object"]
    await asyncio.wait(asyncio.all_tasks() - before, timeout=5)
    assert {found["apiVersion"], found["rows"][0]["object"]["apiVersion"]} == {"meta.k8s.io/v1beta1"}


async def test_a_watch_by_http_1_0_is_lines_until_the_connection_closes(server: ApiServer) -> None:
    path = f"/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion={server.registry.store.revision}"
    await client_of(server).create(CONFIGMAPS, configmap("c"))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {path} HTTP/1.0\r\nAuthorization: Bearer secret\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b" 200 OK" in head and b"chunked" not in head
    assert [orjson.loads(line)["object"]["metadata"]["name"] for line in body.splitlines()] == ["c"]


async def test_a_client_that_does_not_read_loses_its_watch(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_MOST_HELD", 5)
    client, before = client_of(server), asyncio.all_tasks()
    path = f"/api/v1/configmaps?watch=1&resourceVersion={server.registry.store.revision}"
    with socket.create_connection(("127.0.0.1", server.port)) as idler:
        idler.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n".encode())
        async with (
            ClientSession(headers={"Authorization": "Bearer secret"}, read_bufsize=1 << 24) as session,
            session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
        ):
            for number in range(100):
                await client.create(CONFIGMAPS, {**configmap(f"c-{number}"), "data": {"k": "x" * 100_000}})
                line = await answer.content.readline()
                assert orjson.loads(line)["object"]["metadata"]["name"] == f"c-{number}"
        _, left = await asyncio.wait(asyncio.all_tasks() - before, timeout=5)
        assert not left
        told = b""
        while piece := idler.recv(1 << 20):
            told += piece
        assert told and not told.endswith(b"0\r\n\r\n"), "it was cut off"


async def test_a_watch_of_one_name_hears_of_no_other(server: ApiServer) -> None:
    client = client_of(server)
    start = str(server.registry.store.revision)
    params = {"resourceVersion": start, "fieldSelector": "metadata.name=c"}
    live = asyncio.ensure_future(take(client.watch(CONFIGMAPS, "default", **params), 2))
    across = asyncio.ensure_future(take(client.watch(CONFIGMAPS, **params), 2))
    for name in ("b", "ac", "c", "cc", "d"):
        await client.create(CONFIGMAPS, configmap(name))
    await client.delete(CONFIGMAPS, "c", "default")
    past = client.watch(CONFIGMAPS, "default", **params)
    for told in (await live, await across, await take(past, 2)):
        assert [(event.type, event.object["metadata"]["name"]) for event in told] == [("ADDED", "c"), ("DELETED", "c")]


async def test_informers_hear_of_a_write_before_its_writer(server: ApiServer) -> None:
    client = client_of(server)
    async with InformerFactory(client) as factory:
        informer = factory.informer(CONFIGMAPS)
        await informer.wait_synced()
        await asyncio.sleep(0)
        await client.create(CONFIGMAPS, configmap("c"))
        assert informer.lister.get("default/c") is not None


async def test_an_informer_lists_again_after_a_change_that_it_cannot_take(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(server)
    async with InformerFactory(client) as factory:
        informer = factory.informer(CONFIGMAPS)
        await informer.wait_synced()
        added = asyncio.Event()
        informer.add_handler(on_add=lambda obj: added.set() if obj["metadata"]["name"] == "c" else None)
        with monkeypatch.context() as broken:
            broken.setattr(informer, "apply", lambda event, obj: 1 / 0)
            await client.create(CONFIGMAPS, configmap("c"))
        await asyncio.wait_for(added.wait(), 5)
