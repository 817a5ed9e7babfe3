"""``kill -9`` at random moments of concurrent writing. WHERRY_CRASH_ROUNDS sets how many (default 25)."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

from wherry.store.protocol import Event
from wherry.store.sqlite import SQLiteStore

ROUNDS = int(os.environ.get("WHERRY_CRASH_ROUNDS", "25"))
CHILD = Path(__file__).with_name("crash_child.py")


def write_until_killed(path: Path, acknowledged: int) -> list[tuple[str, str, int]]:
    """Kill a writing process as soon as it has acknowledged so many writes; return all that it acknowledged."""
    with subprocess.Popen([sys.executable, str(CHILD), str(path)], stdout=subprocess.PIPE) as child:
        lines = [child.stdout.readline() for _ in range(acknowledged)]
        child.kill()
        lines += child.stdout.readlines()
    writes = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(kind, key, int(revision)) for kind, key, revision in writes]


async def events_after(path: Path, revision: int) -> tuple[int, list[Event], dict[str, bytes]]:
    store = SQLiteStore(path)
    start = max(revision, store.compacted)
    events: list[Event] = []
    await store.watch("/registry/", start, events.extend)
    before = {r.key: r.value for r in (await store.list_at("/registry/", start)).records}
    present = {r.key: r.value for r in store.list("/registry/").records}
    for event in events:
        assert (event.previous.value if event.previous else None) == before.get(event.record.key)
        if event.type == "PUT":
            before[event.record.key] = event.record.value
        else:
            del before[event.record.key]
    assert before == present
    await store.close()
    return start, events, present


def test_every_acknowledged_write_outlives_kill_9_in_order_and_once(tmp_path):
    path, revision, killed_with_writes_under_way = tmp_path / "store.db", 1, 0
    for _ in range(ROUNDS):
        acknowledged = write_until_killed(path, random.choice((1, random.randrange(1, 40), random.randrange(1, 2000))))
        revisions = [number for _, _, number in acknowledged]
        assert revisions == sorted(set(revisions)) and revisions[0] > revision
        start, events, present = asyncio.run(events_after(path, revision))
        found = [(e.type, e.record.key, e.record.revision) for e in events]
        stored = [number for _, _, number in found]
        assert stored == list(range(start + 1, start + 1 + len(stored)))
        assert set(acknowledged) - set(found) == {write for write in acknowledged if write[2] <= start}
        last = {key: (kind, number) for kind, key, number in acknowledged}
        later = {e.record.key for e in events if e.record.revision > revisions[-1]}
        for key, (kind, number) in last.items():
            if key not in later and kind == "PUT":
                assert present[key].startswith(b"%d" % number)
            elif key not in later:
                assert key not in present
        killed_with_writes_under_way += bool(later)
        revision = max(revision, *revisions, *stored, 0)
    assert ROUNDS < 20 or killed_with_writes_under_way, "no kill hit a moment between commit and acknowledgement"
