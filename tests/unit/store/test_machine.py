"""A store against a list of dicts: one dict for each revision."""

import asyncio
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wherry.store import logged
from wherry.store.memory import MemoryStore
from wherry.store.protocol import PUT, Compacted, Event, Mismatch, Store
from wherry.store.sqlite import SQLiteStore

ROOT = "/registry/"
KEYS = st.sampled_from(
    [f"/registry/{c}/{n}/{o}" for c in ("core/pods", "apps/sets") for n in ("a", "a-b") for o in "xy"]
)
PREFIXES = st.sampled_from(["/registry/", "/registry/core/pods/", "/registry/core/pods/a/", "/registry/apps/sets/a-b/"])


class StoreMachine(RuleBasedStateMachine):
    """Every rule is one turn; the model is checked after each."""

    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.patch = mock.patch.multiple(logged, WINDOW_EVENTS=3, REPLAY_EVENTS=2, COMPACT_REVISIONS=2)
        self.patch.start()
        self.store = self.open()
        self.states: dict[int, dict[str, bytes]] = {1: {}}
        self.seen: list[Event] = []
        self.run(self.store.watch(ROOT, 1, self.seen.extend))

    def open(self) -> Store:
        return SQLiteStore(Path(self.folder.name) / "store.db") if self.durable else MemoryStore()

    def run(self, work):
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        self.patch.stop()
        self.folder.cleanup()

    @property
    def now(self) -> dict[str, bytes]:
        return self.states[self.store.revision]

    @rule(changes=st.lists(st.tuples(KEYS, st.booleans(), st.booleans()), min_size=1, max_size=6))
    def write_at_once(self, changes) -> None:
        async def change(key: str, delete: bool, stale: bool) -> None:
            latest = self.store.latest(key)
            expected = (latest.revision if latest else 0) + (1 if stale else 0)
            if stale or (delete and latest is None):
                with pytest.raises(Mismatch):
                    await self.store.write(key, lambda r: b"never", expected=expected, delete=delete)
                return
            record = await self.store.write(key, lambda r: b"%d" % r, expected=expected, delete=delete)
            state = dict(self.states[record.revision - 1])
            state[key] = record.value
            if delete:
                del state[key]
            self.states[record.revision] = state

        async def all_of_them() -> None:
            await asyncio.gather(*(change(*each) for each in changes))

        self.run(all_of_them())

    @rule(prefix=PREFIXES, after=st.just("") | KEYS, limit=st.integers(0, 3), back=st.integers(0, 8))
    def list_the_past(self, prefix, after, limit, back) -> None:
        revision = max(1, self.store.revision - back)
        if revision < self.store.compacted:
            with pytest.raises(Compacted):
                self.run(self.store.list_at(prefix, revision, after=after or "", limit=limit))
            return
        found = self.run(self.store.list_at(prefix, revision, after=after or "", limit=limit))
        expected = sorted(
            (k, v) for k, v in self.states[revision].items() if k.startswith(prefix) and k > (after or "")
        )
        assert [(r.key, r.value) for r in found.records] == expected[: limit or None]
        assert found.remaining == len(expected) - len(found.records)

    @rule(prefix=PREFIXES, back=st.integers(0, 8))
    def replay(self, prefix, back) -> None:
        revision = max(1, self.store.revision - back)
        events: list[Event] = []
        if revision < self.store.compacted:
            with pytest.raises(Compacted):
                self.run(self.store.watch(prefix, revision, events.extend))
            return
        self.run(self.store.watch(prefix, revision, events.extend)).close()
        state = {k: v for k, v in self.states[revision].items() if k.startswith(prefix)}
        for event in events:
            assert (event.previous.value if event.previous else None) == state.get(event.record.key)
            if event.type == PUT:
                state[event.record.key] = event.record.value
            else:
                del state[event.record.key]
        assert state == {k: v for k, v in self.now.items() if k.startswith(prefix)}

    @rule(back=st.integers(0, 6))
    def compact(self, back) -> None:
        self.run(self.store.compact(max(0, self.store.revision - back)))

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        revision = self.store.revision
        self.run(self.store.close())
        self.store = self.open()
        assert self.store.revision == revision
        self.run(self.store.watch(ROOT, revision, self.seen.extend))

    @invariant()
    def the_present_is_the_model(self) -> None:
        listing = self.store.list(ROOT)
        assert [(r.key, r.value) for r in listing.records] == sorted(self.now.items())
        for prefix in ("/registry/core/pods/", "/registry/core/pods/a/"):
            assert self.store.count(prefix) == sum(key.startswith(prefix) for key in self.now)
        assert [e.record.revision for e in self.seen] == list(range(2, self.store.revision + 1))


class DurableStoreMachine(StoreMachine):
    durable = True


TestMemory = StoreMachine.TestCase
TestMemory.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestSQLite = DurableStoreMachine.TestCase
TestSQLite.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
