"""Lists and watches tell one story: pages are one snapshot, and events lead from one list to the next."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.conftest import World
from wherry.api.errors import AlreadyExists, NotFound
from wherry.api.resources import CONFIGMAPS
from wherry.client.client import Client

NAMES = st.sampled_from(["a", "a-b", "a.b", "b", "c", "d", "e"])
WRITES = st.lists(st.tuples(NAMES, st.sampled_from(["red", "blue", "none", "delete"])), max_size=12)
SELECTORS = st.sampled_from(["", "team=red", "team!=red", "team", "!team", "team in (red,blue)", "team notin (red)"])
RUNS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Versions = dict[str, str]


async def write(client: Client, namespace: str, name: str, action: str) -> None:
    """Bring an object to the state that `action` names; nothing happens to a missing object that is to go."""
    if action == "delete":
        try:
            await client.delete(CONFIGMAPS, name, namespace)
        except NotFound:
            pass
        return
    labels = {} if action == "none" else {"team": action}
    obj = {"metadata": {"name": name, "namespace": namespace, "labels": labels}}
    try:
        await client.create(CONFIGMAPS, obj)
    except AlreadyExists:
        await client.update(CONFIGMAPS, obj)


def versions(listed: dict[str, Any]) -> Versions:
    """Return the resource versions of a list's objects by name; their order is that of the names."""
    names = [item["metadata"]["name"] for item in listed["items"]]
    assert names == sorted(names) and len(set(names)) == len(names)
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in listed["items"]}


async def pages(client: Client, namespace: str, limit: int, **params: str) -> tuple[list[dict[str, Any]], str]:
    """Return the pages of a list and the resource version that all of them carry."""
    found, token = [], ""
    while True:
        page = await client.list(
            CONFIGMAPS, namespace, limit=str(limit), **params, **({"continue": token} if token else {})
        )
        found.append(page)
        token = page["metadata"].get("continue", "")
        if not token:
            [version] = {page["metadata"]["resourceVersion"] for page in found}
            return found, version


@RUNS
@given(before=WRITES, during=WRITES, limit=st.integers(1, 4), selector=SELECTORS)
async def test_pages_are_one_snapshot_whatever_is_written_between_them(
    world: World, before: list[Any], during: list[Any], limit: int, selector: str
) -> None:
    namespace, client = await world.namespace(), world.client
    for name, action in before:
        await write(client, namespace, name, action)
    (taken, version), _ = await asyncio.gather(
        pages(client, namespace, limit, labelSelector=selector),
        asyncio.gather(*(write(client, namespace, name, action) for name, action in dict(during).items())),
    )
    assert all(len(page["items"]) == limit for page in taken[:-1])
    together = [item for page in taken for item in page["items"]]
    exact = await client.list(
        CONFIGMAPS, namespace, labelSelector=selector, resourceVersion=version, resourceVersionMatch="Exact"
    )
    assert versions({"items": together}) == versions(exact)
    if not selector:
        left = [page["metadata"].get("remainingItemCount", 0) for page in taken]
        assert left == [len(together) - limit * (i + 1) for i in range(len(taken) - 1)] + [0]


@RUNS
@given(before=WRITES, during=WRITES, selector=SELECTORS, data=st.data())
async def test_events_lead_from_one_list_to_the_next(
    world: World, before: list[Any], during: list[Any], selector: str, data: st.DataObject
) -> None:
    namespace, client = await world.namespace(), world.client
    for name, action in before:
        await write(client, namespace, name, action)
    start = await client.list(CONFIGMAPS, namespace, labelSelector=selector)
    for name, action in during:
        await write(client, namespace, name, action)
    end = await client.list(CONFIGMAPS, namespace, labelSelector=selector)
    for team in ("none", "red"):
        await write(client, namespace, "marker", team)
    events = await changes(client, namespace, selector, start["metadata"]["resourceVersion"])
    revisions = [int(obj["metadata"]["resourceVersion"]) for _, obj in events]
    assert revisions == sorted(set(revisions))
    assert replayed(versions(start), events) == versions(end)
    point = data.draw(st.integers(0, len(events)))
    resumed = str(revisions[point - 1]) if point else start["metadata"]["resourceVersion"]
    assert await changes(client, namespace, selector, resumed) == events[point:]


Events = list[tuple[str, dict[str, Any]]]


async def changes(client: Client, namespace: str, selector: str, since: str) -> Events:
    """Return the events after revision `since` up to those of the object `marker`."""
    found: Events = []
    watch = client.watch(CONFIGMAPS, namespace, labelSelector=selector, resourceVersion=since)
    async for event in watch:
        if event.object["metadata"]["name"] == "marker":
            break
        found.append((event.type, event.object))
    await watch.aclose()  # type: ignore[attr-defined]
    return found


def replayed(state: Versions, events: Events) -> Versions:
    """Return what a reflector holds after `events`, each of which must fit what was before."""
    state = dict(state)
    for kind, obj in events:
        name, version = obj["metadata"]["name"], obj["metadata"]["resourceVersion"]
        assert (name in state) == (kind != "ADDED"), (kind, name)
        if kind == "DELETED":
            del state[name]
        else:
            state[name] = version
    return state


@RUNS
@given(before=WRITES, during=WRITES)
async def test_a_watch_list_gives_the_list_and_then_its_changes(
    world: World, before: list[Any], during: list[Any]
) -> None:
    namespace, client = await world.namespace(), world.client
    for name, action in before:
        await write(client, namespace, name, action)
    watch = client.watch(
        CONFIGMAPS, namespace, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    )
    initial: Versions = {}
    events: Events = []
    bookmark = ""
    async for event in watch:
        meta = event.object["metadata"]
        if event.type == "BOOKMARK" and not bookmark:
            assert meta["annotations"] == {"k8s.io/initial-events-end": "true"}
            bookmark = meta["resourceVersion"]
            exact = await client.list(CONFIGMAPS, namespace, resourceVersion=bookmark, resourceVersionMatch="Exact")
            assert initial == versions(exact)
            for name, action in during:
                await write(client, namespace, name, action)
            end = await client.list(CONFIGMAPS, namespace)
            await write(client, namespace, "marker", "none")
        elif not bookmark:
            assert event.type == "ADDED"
            initial[meta["name"]] = meta["resourceVersion"]
        elif event.type != "BOOKMARK":
            if meta["name"] == "marker":
                break
            events.append((event.type, event.object))
    await watch.aclose()  # type: ignore[attr-defined]
    assert replayed(initial, events) == versions(end)
