"""What `protocol.Store` promises, over every implementation."""

import asyncio
from collections.abc import Sequence

import pytest

from wherry.store.protocol import DELETE, PUT, Compacted, Event, FutureRevision, Mismatch, Record, Store

PODS = "/registry/core/pods/"


def stamped(text: str):
    return lambda revision: f"{text}@{revision}".encode()


async def put(store: Store, key: str, text: str = "v") -> Record:
    latest = store.latest(key)
    return await store.write(key, stamped(text), expected=latest.revision if latest else 0)


async def delete(store: Store, key: str) -> Record:
    return await store.write(key, stamped("last"), expected=store.latest(key).revision, delete=True)


def keys(records: Sequence[Record]) -> list[str]:
    return [record.key.removeprefix(PODS) for record in records]


def shown(events: Sequence[Event]) -> list[tuple]:
    return [(e.type, e.record.key, e.record.value, e.previous and e.previous.value) for e in events]


async def test_the_value_knows_the_revision_that_writes_it(store):
    first = await put(store, PODS + "a/x")
    second = await put(store, PODS + "a/x")
    assert second.value == f"v@{second.revision}".encode()
    assert (second.revision, second.created) == (first.revision + 1, first.revision)
    assert store.get(PODS + "a/x") is second and store.revision == second.revision


async def test_an_empty_store_has_a_revision_that_can_be_watched_from(store):
    assert store.revision == 1 and store.list(PODS) == ([], 1, 0)
    seen: list[Event] = []
    await store.watch(PODS, 1, seen.extend)
    await put(store, PODS + "a/x")
    assert len(seen) == 1


async def test_a_wrong_expectation_is_a_mismatch_that_names_what_stands_there(store):
    first = await put(store, PODS + "a/x")
    for expected in (0, first.revision + 1):
        with pytest.raises(Mismatch) as mismatch:
            await store.write(PODS + "a/x", stamped("v"), expected=expected)
        assert mismatch.value.current is first
    with pytest.raises(Mismatch) as mismatch:
        await store.write(PODS + "a/y", stamped("v"), expected=first.revision)
    assert mismatch.value.current is None
    with pytest.raises(Mismatch):
        await store.write(PODS + "a/y", stamped("v"), expected=0, delete=True)
    assert store.revision == first.revision


async def test_nothing_is_visible_before_it_is_acknowledged_but_the_next_writer_builds_on_it(store):
    seen: list[Event] = []
    await store.watch(PODS, store.revision, seen.extend)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(put(store, PODS + "a/x"))
        await asyncio.sleep(0)
        pending = store.latest(PODS + "a/x")
        assert pending is not None and store.get(PODS + "a/x") is None
        assert store.count(PODS) == 0 and not seen
        second = group.create_task(store.write(PODS + "a/x", stamped("w"), expected=pending.revision))
    assert store.get(PODS + "a/x") is second.result() and second.result().created == first.result().revision
    assert [e.record for e in seen] == [first.result(), second.result()] and seen[1].previous is first.result()


async def test_concurrent_writes_of_one_key_let_one_through(store):
    results = await asyncio.gather(
        *(store.write(PODS + "a/x", stamped(str(n)), expected=0) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, Record) for result in results) == 1
    assert sum(isinstance(result, Mismatch) for result in results) == 19


async def test_a_deleted_key_is_gone_and_starts_anew(store):
    await put(store, PODS + "a/x")
    gone = await delete(store, PODS + "a/x")
    assert store.get(PODS + "a/x") is None and store.latest(PODS + "a/x") is None and store.revision == gone.revision
    again = await put(store, PODS + "a/x")
    assert again.created == again.revision


async def test_lists_are_in_key_order_by_namespace_and_in_pages(store):
    for key in ("b/y", "a-b/x", "a/z", "a/x", "a/y"):
        await put(store, PODS + key)
    await put(store, "/registry/core/podtemplates/a/x")
    assert keys(store.list(PODS).records) == ["a-b/x", "a/x", "a/y", "a/z", "b/y"]
    assert keys(store.list(PODS + "a/").records) == ["a/x", "a/y", "a/z"]
    first = store.list(PODS, limit=2)
    assert (keys(first.records), first.remaining, first.revision) == (["a-b/x", "a/x"], 3, store.revision)
    rest = store.list(PODS, after=PODS + "a/x", limit=10)
    assert (keys(rest.records), rest.remaining) == (["a/y", "a/z", "b/y"], 0)
    assert store.list(PODS + "a/", after=PODS + "b/").records == []
    assert (store.count(PODS), store.count(PODS + "a/"), store.count(PODS + "c/")) == (5, 3, 0)


@pytest.mark.usefixtures("window")
async def test_the_past_can_be_listed_in_pages(store):
    for key in ("a/a", "a/b", "a/c", "b/d"):
        await put(store, PODS + key, "old")
    await put(store, "/registry/core/secrets/a/s")
    then, expected = store.revision, [(r.key, r.value, r.created) for r in store.list(PODS).records]
    await put(store, PODS + "a/a", "new")
    await delete(store, PODS + "a/b")
    await put(store, PODS + "a/aa")
    await delete(store, PODS + "b/d")
    await put(store, PODS + "b/d", "again")
    whole = await store.list_at(PODS, then)
    assert [(r.key, r.value, r.created) for r in whole.records] == expected and whole.revision == then
    page = await store.list_at(PODS, then, limit=1, after=PODS + "a/a")
    assert (keys(page.records), page.remaining) == (["a/b"], 2)
    assert keys((await store.list_at(PODS + "a/", then, limit=3)).records) == ["a/a", "a/b", "a/c"]
    with pytest.raises(FutureRevision):
        await store.list_at(PODS, store.revision + 1)


@pytest.mark.usefixtures("window")
async def test_a_watch_of_the_past_sees_every_event_once_and_goes_on(store):
    live: list[Event] = []
    await store.watch(PODS, store.revision, live.extend)
    start = store.revision
    for n in range(5):
        await put(store, PODS + f"a/{n}")
        await put(store, "/registry/core/secrets/a/s")
    await put(store, PODS + "a/1")
    await delete(store, PODS + "a/2")
    for revision in range(start, store.revision + 1):
        seen: list[Event] = []
        subscription = await store.watch(PODS, revision, seen.extend)
        assert shown(seen) == shown([e for e in live if e.record.revision > revision])
        await put(store, PODS + "b/x")
        assert seen[-1] is live[-1]
        subscription.close()
        await put(store, PODS + "b/x")
        assert seen[-1] is not live[-1]
    assert [e.type for e in live[:7]] == [PUT] * 6 + [DELETE]


@pytest.mark.usefixtures("window")
async def test_writes_during_the_start_of_a_watch_are_neither_lost_nor_doubled(store):
    for n in range(20):
        await put(store, PODS + f"a/{n}")
    seen: list[Event] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(store.watch(PODS, 1, seen.extend))
        for n in range(20, 40):
            group.create_task(put(store, PODS + f"a/{n}"))
    assert [e.record.revision for e in seen] == list(range(2, 42))


async def test_a_watch_gets_only_what_is_below_its_prefix(store):
    namespace, one, other = [], [], []
    await store.watch(PODS + "a/", 1, namespace.extend)
    await store.watch(PODS + "a/x", 1, one.extend)
    await store.watch("/registry/core/pod/", 1, other.extend)
    for key in ("a/x", "a/xx", "ab/x"):
        await put(store, PODS + key)
    assert keys([e.record for e in namespace]) == ["a/x", "a/xx"] and keys([e.record for e in one]) == ["a/x"]
    assert other == []


async def test_a_watch_from_a_later_revision_waits_for_it(store):
    seen: list[Event] = []
    await store.watch(PODS, store.revision + 2, seen.extend)
    for n in range(4):
        await put(store, PODS + f"a/{n}")
    assert keys([e.record for e in seen]) == ["a/2", "a/3"]


async def test_a_sink_may_close_and_start_watches_and_a_broken_one_harms_nobody(store):
    seen: list[Event] = []

    def broken(events: Sequence[Event]) -> None:
        second.close()
        raise RuntimeError("broken sink")

    await store.watch(PODS, 1, broken)
    second = await store.watch(PODS, 1, lambda events: pytest.fail("closed"))
    await store.watch(PODS, 1, seen.extend)
    assert (await put(store, PODS + "a/x")).revision == 2 and len(seen) == 1


@pytest.mark.usefixtures("window")
async def test_compaction_forgets_the_past_and_keeps_the_present(store):
    for text in ("1", "2", "3"):
        await put(store, PODS + "a/x", text)
    await put(store, PODS + "a/gone")
    await delete(store, PODS + "a/gone")
    at = store.revision
    await put(store, PODS + "a/x", "4")
    await put(store, PODS + "a/y")
    await store.compact(at)
    assert store.compacted == at
    with pytest.raises(Compacted) as compacted:
        await store.list_at(PODS, at - 1)
    assert compacted.value.revision == at
    with pytest.raises(Compacted):
        await store.watch(PODS, at - 1, lambda events: None)
    assert [r.value for r in (await store.list_at(PODS, at)).records] == [b"3@4"]
    seen: list[Event] = []
    await store.watch(PODS, at, seen.extend)
    assert [(e.record.value, e.previous and e.previous.value) for e in seen] == [(b"4@7", b"3@4"), (b"v@8", None)]
    await store.compact(at - 2)
    assert store.compacted == at


async def test_compaction_to_the_present_lets_watches_go_on_from_it(store):
    await put(store, PODS + "a/x")
    await store.compact(store.revision + 100)
    assert store.compacted == store.revision
    seen: list[Event] = []
    await store.watch(PODS, store.revision, seen.extend)
    await put(store, PODS + "a/y")
    assert len(seen) == 1


async def test_waiting_for_a_revision_ends_when_it_is_acknowledged_or_in_time(store):
    assert await store.wait_revision(store.revision, 0)
    assert not await store.wait_revision(store.revision + 1, 0.001)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(store.wait_revision(store.revision + 2, 60))
        await put(store, PODS + "a/x")
        assert not waiting.done()
        await put(store, PODS + "a/y")
    assert waiting.result()


async def test_closing_finishes_the_writes_under_way_and_refuses_new_ones(store):
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(put(store, PODS + "a/x"))
        await asyncio.sleep(0)
        await store.close()
    assert store.get(PODS + "a/x") is writing.result()
    with pytest.raises(OSError):
        await put(store, PODS + "a/y")


async def test_a_cancelled_writer_does_not_undo_its_write(store):
    writing = asyncio.ensure_future(put(store, PODS + "a/x"))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await put(store, PODS + "a/y")
    assert keys(store.list(PODS).records) == ["a/x", "a/y"]
