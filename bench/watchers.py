"""Let many watchers follow writes at a steady rate, against any Kubernetes API server, and say what they saw.

usage: watchers.py URL TOKEN [WATCHERS] [WRITES_PER_SECOND] [SECONDS]   (200, 1000, 8)

Each watcher is a connection of its own to the ConfigMaps of one namespace. A write carries the moment at which its
request left; its latency is the time from there until the event is in a watcher's process. Watchers run in processes of
their own (four), so that the reader does not measure itself. Printed: events lost, out of order, and the latency.
"""

import asyncio
import json
import multiprocessing
import re
import ssl
import sys
import time
from array import array
from operator import ge

import aiohttp

PROCESSES = 4
PATIENCE = 20
"""Seconds without an event after which what is missing counts as lost."""

NAMESPACE = "watchers"
MOMENT = re.compile(rb'"at":"([0-9.]+)"')
NUMBER = re.compile(rb'"number":"([0-9]+)"')
VERSION = re.compile(rb'"resourceVersion":"([0-9]+)"')
SLOTS = 32
"""The ConfigMaps that are written in turn."""


def session(token, **options):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=PATIENCE)
    return aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout, **options)


class Watcher:
    def __init__(self):
        self.latencies, self.numbers, self.disordered, self.version = array("d"), set(), 0, 0

    async def follow(self, client, url, start, wanted, ready):
        path = f"{url}/api/v1/namespaces/{NAMESPACE}/configmaps?watch=1&resourceVersion={start}"
        async with client.get(path) as answer:
            ready.release()
            rest = b""
            async for chunk in answer.content.iter_any():
                now = time.time()
                lines, end, rest = (rest + chunk).rpartition(b"\n")
                if end:
                    self.take(lines, now)
                if len(self.numbers) >= wanted:
                    return

    def take(self, lines, now):
        """Note whole lines, all with a few calls: the reader shares the machine with the server."""
        versions = [self.version, *map(int, VERSION.findall(lines))]
        self.version = versions[-1]
        self.disordered += sum(map(ge, versions, versions[1:]))
        self.numbers.update(NUMBER.findall(lines))
        self.latencies.extend(now - moment for moment in map(float, MOMENT.findall(lines)))


def watch(url, token, count, start, wanted, ready, results):
    """Run `count` watchers in this process until each has seen `wanted` events or none for `PATIENCE` seconds."""

    async def run():
        watchers = [Watcher() for _ in range(count)]
        async with session(token, read_bufsize=1 << 20) as client:
            follow = (watcher.follow(client, url, start, wanted, ready) for watcher in watchers)
            await asyncio.gather(*follow, return_exceptions=True)
        for watcher in watchers:
            results.put((wanted - len(watcher.numbers), watcher.disordered, watcher.latencies.tobytes()))

    asyncio.run(run())


async def prepare(client, url):
    """Make the namespace and its ConfigMaps; return the revision to watch from."""
    async with client.post(f"{url}/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}}) as answer:
        assert answer.status in (201, 409), await answer.text()
    for slot in range(SLOTS):
        made = {"metadata": {"name": f"slot-{slot}"}, "data": {}}
        async with client.post(f"{url}/api/v1/namespaces/{NAMESPACE}/configmaps", json=made) as answer:
            assert answer.status in (201, 409), await answer.text()
    async with client.get(f"{url}/api/v1/namespaces/{NAMESPACE}/configmaps?limit=1") as answer:
        return json.loads(await answer.read())["metadata"]["resourceVersion"]


async def write(client, url, rate, total):
    """Send `total` writes, `rate` in a second, each ConfigMap in turn; return the seconds that it took."""
    began = time.time()
    turns = [asyncio.Lock() for _ in range(SLOTS)]

    async def one(number):
        slot = number % SLOTS
        async with turns[slot]:
            data = {"at": f"{time.time():.6f}", "number": str(number), "text": "x" * 200}
            body = {"metadata": {"name": f"slot-{slot}"}, "data": data}
            async with client.put(f"{url}/api/v1/namespaces/{NAMESPACE}/configmaps/slot-{slot}", json=body) as answer:
                assert answer.status == 200, await answer.text()

    async with asyncio.TaskGroup() as group:
        for number in range(total):
            await asyncio.sleep(max(0.0, began + number / rate - time.time()))
            group.create_task(one(number))
    return time.time() - began


async def main(url, token, watchers=200, rate=1000, seconds=8):
    context = multiprocessing.get_context("spawn")
    ready, results, total = context.Semaphore(0), context.Queue(), rate * seconds
    async with session(token) as client:
        start = await prepare(client, url)
        counts = [len(range(first, watchers, PROCESSES)) for first in range(PROCESSES)]
        arguments = [(url, token, count, start, total, ready, results) for count in counts]
        processes = [context.Process(target=watch, args=a, daemon=True) for a in arguments]
        for process in processes:
            process.start()
        for _ in range(watchers):
            await asyncio.to_thread(ready.acquire)
        took = await write(client, url, rate, total)
        found = [await asyncio.to_thread(results.get) for _ in range(watchers)]
    latencies = array("d")
    for _, _, one in found:
        latencies.frombytes(one)
    ordered = sorted(latencies)
    p50, p99 = (ordered[int(len(ordered) * q)] * 1000 for q in (0.5, 0.99))
    print(
        f"{watchers} watchers, {total / took:.0f} writes/s: lost {sum(f[0] for f in found)}, out of order "
        f"{sum(f[1] for f in found)}, p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3], *map(int, sys.argv[3:])))
