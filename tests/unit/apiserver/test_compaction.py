"""The past is forgotten in time."""

import asyncio

import pytest

from wherry.apiserver.compaction import INTERVAL, Compactor
from wherry.store.memory import MemoryStore
from wherry.store.protocol import Compacted
from wherry.util import virtualtime


def test_what_is_older_than_two_intervals_cannot_be_listed_and_what_is_younger_than_one_can() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with Compactor(store):
            old = store.revision
            await store.write("/registry/a", lambda revision: b"1", expected=0)
            await asyncio.sleep(INTERVAL * 1.5)
            young = store.revision
            await store.write("/registry/b", lambda revision: b"2", expected=0)
            await asyncio.sleep(INTERVAL)
            assert (await store.list_at("/registry/", young)).records
            await asyncio.sleep(INTERVAL)
            with pytest.raises(Compacted):
                await store.list_at("/registry/", old)
        await store.close()

    virtualtime.run(main())
