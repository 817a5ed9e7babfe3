"""Write to the store at argv[1] from many tasks until killed; print each acknowledged write as it is acknowledged."""

import asyncio
import os
import random
import sys

from wherry.store.sqlite import SQLiteStore


async def main(path: str) -> None:
    store = SQLiteStore(path)

    async def writer(number: int) -> None:
        while True:
            key = f"/registry/core/pods/ns-{number % 4}/{random.randrange(200)}-{number}"
            latest = store.latest(key)
            delete = latest is not None and random.random() < 0.3
            filler = b"." * random.choice((0, 50, 5000))
            record = await store.write(
                key,
                lambda revision, filler=filler: b"%d%s" % (revision, filler),
                expected=latest.revision if latest else 0,
                delete=delete,
            )
            os.write(1, f"{'DELETE' if delete else 'PUT'} {key} {record.revision}\n".encode())

    async def compactor() -> None:
        while True:
            await store.compact(store.revision - 500)
            await asyncio.sleep(0.02)

    await asyncio.gather(compactor(), *(writer(number) for number in range(40)))


asyncio.run(main(sys.argv[1]))
