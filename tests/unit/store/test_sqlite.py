"""What only a store on disk can do: be opened again, and fail."""

import asyncio
import errno
import sqlite3

import pytest

from tests.unit.store.threadwriter import ThreadWriter
from wherry.store import logged
from wherry.store.logged import LoggedStore
from wherry.store.protocol import Event, Mismatch
from wherry.store.sqlite import SQLiteStore
from wherry.store.sqlitefile import SQLiteFile

PODS = "/registry/core/pods/"


def stamped(text: str):
    return lambda revision: f"{text}@{revision}".encode()


async def put(store: SQLiteStore, key: str, text: str = "v"):
    latest = store.latest(key)
    return await store.write(key, stamped(text), expected=latest.revision if latest else 0)


async def delete(store: SQLiteStore, key: str):
    return await store.write(key, stamped("last"), expected=store.latest(key).revision, delete=True)


async def test_an_opened_store_goes_on_where_it_was_closed(tmp_path):
    store = SQLiteStore(tmp_path / "store.db")
    for n in range(5):
        await put(store, PODS + f"a/{n}")
    await put(store, PODS + "a/3", "w")
    await delete(store, PODS + "a/4")
    before = [(r.key, r.value, r.revision, r.created) for r in store.list(PODS).records]
    await store.close()
    store = SQLiteStore(tmp_path / "store.db")
    assert [(r.key, r.value, r.revision, r.created) for r in store.list(PODS).records] == before
    assert store.revision == 8 and store.count(PODS) == 4
    assert [r.key[-1] for r in (await store.list_at(PODS, 6)).records] == ["0", "1", "2", "3", "4"]
    seen: list[Event] = []
    await store.watch(PODS, 6, seen.extend)
    assert [(e.type, e.record.value, e.previous.value) for e in seen] == [
        ("PUT", b"w@7", b"v@5"), ("DELETE", b"last@8", b"v@6")
    ]  # fmt: skip
    assert (await put(store, PODS + "a/5")).revision == 9
    await store.close()


async def test_the_revision_does_not_go_back_when_the_last_one_was_a_compacted_deletion(tmp_path, monkeypatch):
    monkeypatch.setattr(logged, "COMPACT_REVISIONS", 2)
    store = SQLiteStore(tmp_path / "store.db")
    for _ in range(3):
        await put(store, PODS + "a/x")
        await delete(store, PODS + "a/x")
    revision = store.revision
    await store.compact(revision)
    await store.close()
    with sqlite3.connect(tmp_path / "store.db") as raw:
        assert raw.execute("SELECT count(*) FROM log").fetchone() == (0,)
    raw.close()
    store = SQLiteStore(tmp_path / "store.db")
    assert (store.revision, store.compacted, store.count("/registry/")) == (revision, revision, 0)
    await store.close()


async def test_a_full_disk_undoes_the_batch_and_what_was_built_on_it_and_the_store_goes_on(tmp_path):
    file = SQLiteFile(tmp_path / "store.db")
    store = LoggedStore(file, writer=lambda _: ThreadWriter(file))
    first = await put(store, PODS + "a/x")
    seen: list[Event] = []
    await store.watch(PODS, store.revision, seen.extend)
    writer = file._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count={pages + 2}")
    big = "x" * 100_000
    lost = [asyncio.ensure_future(put(store, PODS + "a/x", big))]
    await asyncio.sleep(0)
    pending = store.latest(PODS + "a/x")
    await asyncio.sleep(0)  # the batch is on its way; what follows gathers for the next one
    lost.append(asyncio.ensure_future(store.write(PODS + "a/x", stamped("on top"), expected=pending.revision)))
    lost.append(asyncio.ensure_future(put(store, PODS + "a/y", "behind")))
    errors = await asyncio.gather(*lost, return_exceptions=True)
    assert [type(error) for error in errors] == [OSError] * 3
    assert {error.errno for error in errors} == {errno.ENOSPC}
    assert store.get(PODS + "a/x") is first is store.latest(PODS + "a/x") and not seen
    writer.execute("PRAGMA max_page_count=1000000")
    with pytest.raises(Mismatch):
        await store.write(PODS + "a/x", stamped("stale"), expected=pending.revision)
    again = await store.write(PODS + "a/x", stamped("again"), expected=first.revision)
    assert [e.record for e in seen] == [again]
    await store.close()
    store = SQLiteStore(tmp_path / "store.db")
    assert [(r.key, r.value) for r in store.list(PODS).records] == [(again.key, again.value)]
    await store.close()


async def test_a_batch_beyond_the_parameters_of_one_statement_is_still_one_commit(tmp_path):
    store = SQLiteStore(tmp_path / "store.db")
    batches: list[int] = []
    await store.watch(PODS, 1, lambda events: batches.append(len(events)))
    await asyncio.gather(*(put(store, PODS + f"a/{n}") for n in range(6000)))
    assert batches == [6000]
    await store.close()


async def test_a_file_of_another_format_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "store.db") as raw:
        raw.execute("PRAGMA user_version=99")
    raw.close()
    with pytest.raises(OSError, match="format 99"):
        SQLiteStore(tmp_path / "store.db")


async def test_the_write_ahead_log_has_its_blocks_before_it_is_used_and_keeps_them(tmp_path):
    path, wal = tmp_path / "state.db", tmp_path / "state.db-wal"
    store = SQLiteStore(path)
    full = wal.stat().st_size
    assert full > 16_000_000
    await store.write("/registry/a", lambda _: b"one", expected=0)
    assert wal.stat().st_size == full
    blocks = wal.stat().st_ino
    await store.close()
    again = SQLiteStore(path)
    assert (wal.stat().st_ino, wal.stat().st_size) == (blocks, full)
    record = again.get("/registry/a")
    assert record is not None and record.value == b"one"
    await again.close()


async def test_a_file_of_the_first_format_loses_its_index_and_nothing_else(tmp_path):
    path = tmp_path / "store.db"
    store = SQLiteStore(path)
    await put(store, PODS + "a", "one")
    await put(store, PODS + "a", "two")
    await put(store, PODS + "b")
    await delete(store, PODS + "b")
    await store.close()
    with sqlite3.connect(path) as file:
        file.executescript("CREATE INDEX log_key ON log (key, revision); PRAGMA user_version=1;")
    file.close()
    store = SQLiteStore(path)
    assert [(r.key, r.value) for r in store.list("/registry/").records] == [(PODS + "a", b"two@3")]
    assert [r.value for r in (await store.list_at(PODS, 4)).records] == [b"two@3", b"v@4"]
    await store.close()


async def test_a_killed_process_that_commits_fails_what_is_under_way_and_another_goes_on(tmp_path):
    store = SQLiteStore(tmp_path / "store.db")
    first = await put(store, PODS + "a/x", "first")
    under_way = [asyncio.ensure_future(put(store, PODS + f"a/{n}", "x" * 100_000)) for n in range(50)]
    await asyncio.sleep(0)
    store._writer._process.kill()
    lost = await asyncio.gather(*under_way, return_exceptions=True)
    assert {error.errno for error in lost} == {errno.EIO}
    assert store.list(PODS).records == [first]
    again = await put(store, PODS + "a/y", "again")
    await store.close()
    store = SQLiteStore(tmp_path / "store.db")
    assert [(r.key, r.revision) for r in store.list(PODS).records] == [(r.key, r.revision) for r in (first, again)]
    await store.close()


async def test_what_nobody_was_told_of_is_undone_by_the_next_process(tmp_path):
    path = tmp_path / "store.db"
    store = SQLiteStore(path)
    await put(store, PODS + "a/x", "told")
    store._writer._durable = revision = store.revision
    with sqlite3.connect(path) as raw:  # as a batch of a process that was killed before it answered
        raw.execute("INSERT INTO log VALUES (?, ?, 1, 0, 0, ?)", (revision + 1, PODS + "a/lost", b"lost"))
    raw.close()
    store._writer._process.kill()
    with pytest.raises(OSError, match="has ended"):
        await put(store, PODS + "a/y", "in vain")
    await put(store, PODS + "a/y", "in time")
    await store.close()
    store = SQLiteStore(path)
    assert [r.key for r in store.list(PODS).records] == [PODS + "a/x", PODS + "a/y"]
    await store.close()
