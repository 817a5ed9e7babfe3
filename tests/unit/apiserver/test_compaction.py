"""The past is forgotten in time."""

import asyncio

import pytest

from wherry.apiserver.compaction import KEPT, Compactor
from wherry.store.memory import MemoryStore
from wherry.store.protocol import Compacted
from wherry.util import virtualtime


def test_five_minutes_of_the_past_can_be_listed_and_not_much_more() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with Compactor(store):
            old = store.revision
            await store.write("/registry/a", lambda revision: b"1", expected=0)
            await asyncio.sleep(KEPT / 2)
            young = store.revision
            await store.write("/registry/b", lambda revision: b"2", expected=0)
            await asyncio.sleep(KEPT - 1)
            assert (await store.list_at("/registry/", young)).records
            with pytest.raises(Compacted):
                await store.list_at("/registry/", old)
        await store.close()

    virtualtime.run(main())
