"""Measure the store: durable writes a second at several concurrencies, reads, and the time to open it.

python bench/store.py [--memory] [--seconds 3] [--objects 100000]
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import uvloop

from wherry.store.memory import MemoryStore
from wherry.store.protocol import Store
from wherry.store.sqlite import SQLiteStore

VALUE = b'{"kind":"ConfigMap","data":{"a":"' + b"x" * 600 + b'"}}'


async def writes(store: Store, concurrency: int, duration: float, name: str) -> None:
    """Create keys from `concurrency` tasks for `duration` seconds and print the rate and the median latency."""
    end = time.perf_counter() + duration
    latencies: list[float] = []

    async def writer(number: int) -> None:
        count = 0
        while (start := time.perf_counter()) < end:
            key = f"/registry/core/configmaps/{name}/{number:04}-{count:06}"
            await store.write(key, lambda revision: VALUE, expected=0)
            latencies.append(time.perf_counter() - start)
            count += 1

    await asyncio.gather(*(writer(number) for number in range(concurrency)))
    latencies.sort()
    rate = len(latencies) / duration
    median, slow = (latencies[len(latencies) * percent // 100] * 1000 for percent in (50, 99))
    print(f"write, {concurrency:4} at once: {rate:8.0f}/s   p50 {median:6.2f} ms   p99 {slow:6.2f} ms")


async def fill(store: Store, objects: int) -> None:
    """Write `objects` keys spread over 100 namespaces."""
    for start in range(0, objects, 1000):
        await asyncio.gather(
            *(
                store.write(f"/registry/core/pods/ns-{n % 100}/pod-{n:07}", lambda revision: VALUE, expected=0)
                for n in range(start, min(start + 1000, objects))
            )
        )


async def run(memory: bool, duration: float, objects: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        store: Store = MemoryStore() if memory else SQLiteStore(path)
        for concurrency in (1, 16, 64, 256):
            await writes(store, concurrency, duration, f"c{concurrency}")
        start = time.perf_counter()
        await fill(store, objects)
        print(f"fill: {objects / (time.perf_counter() - start):.0f}/s")
        start = time.perf_counter()
        for _ in range(100):
            store.list("/registry/core/pods/ns-7/", limit=500)
            store.count("/registry/core/pods/")
        print(f"list 500 of {objects} and count: {(time.perf_counter() - start) * 10000:.0f} µs")
        await store.close()
        if not memory:
            start = time.perf_counter()
            store = SQLiteStore(path)
            total, elapsed = store.count("/registry/"), time.perf_counter() - start
            print(f"open with {total} objects: {elapsed:.2f} s")
            await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--objects", type=int, default=100_000)
    args = parser.parse_args()
    uvloop.run(run(args.memory, args.seconds, args.objects))
