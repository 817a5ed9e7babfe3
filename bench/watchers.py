"""Let many watchers follow writes at a steady rate, against any Kubernetes API server, and say what they saw.

usage: watchers.py URL TOKEN [WATCHERS] [WRITES_PER_SECOND] [SECONDS]   (200, 1000, 8)

Each watcher is a connection of its own to the ConfigMaps of one namespace. A write carries the moment at which its
request left; its latency is the time from there until the event is in a watcher's process. Printed: events lost, out of
order, and the latency.

Watchers run in processes of their own (two), without HTTP or JSON libraries: the reader shares the machine with the
server. What many connections bring alike is read once.
"""

import asyncio
import json
import multiprocessing
import re
import selectors
import socket
import ssl
import sys
import time
from collections import Counter
from operator import ge
from urllib.parse import urlsplit

PROCESSES = 2
WRITERS = 32
PATIENCE = 20
"""Seconds without an event after which what is missing counts as lost."""

NAMESPACE = "watchers"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
EVENT = re.compile(rb'"resourceVersion":"([0-9]+)".*?"at":"([0-9.]+)","number":"([0-9]+)".*?\n')
"""The order of fields is that of Kubernetes' JSON: kind, apiVersion, metadata, data by name."""


def context():
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def request(method, path, token, body=b""):
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Lines:
    """Reads events, remembering the pieces that several connections bring."""

    def __init__(self):
        self.known = {}

    def read(self, lines):
        """Return versions, moments and numbers of the events in `lines`."""
        found = self.known.get(lines)
        if found is None:
            rows = EVENT.findall(lines)
            found = [int(row[0]) for row in rows], [float(row[1]) for row in rows], {row[2] for row in rows}
            if len(self.known) > 64:
                self.known.clear()
            self.known[lines] = found
        return found


class Watcher:
    def __init__(self, connection, lines):
        self.connection, self.lines = connection, lines
        self.rest, self.version, self.disordered, self.seen = b"", 0, 0, set()

    def read(self, latencies):
        """Take what has come; tell whether there may be more."""
        pieces, now = [self.rest], time.time()
        try:
            while piece := self.connection.recv(1 << 18):
                pieces.append(piece)
            return False
        except ssl.SSLWantReadError:
            pass
        except OSError:
            return False
        # The sizes of chunks stay where they are, between two events.
        lines, end, self.rest = b"".join(pieces).rpartition(b"}\n")
        if end:
            versions, moments, numbers = self.lines.read(lines + end)
            self.disordered += sum(map(ge, [self.version, *versions], versions))
            self.version = versions[-1] if versions else self.version
            self.seen |= numbers
            latencies.update(round((now - moment) * 1000) for moment in moments)
        return True


def watch(url, token, count, start, wanted, ready, results):
    """Run `count` watchers in this process until each has seen `wanted` events or none for `PATIENCE` seconds."""
    at, tls, lines, latencies = urlsplit(url), context(), Lines(), Counter()
    selector, watchers = selectors.DefaultSelector(), []
    for _ in range(count):
        connection = tls.wrap_socket(socket.create_connection((at.hostname, at.port)))
        connection.sendall(request("GET", f"{PATH}?watch=1&resourceVersion={start}", token))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 200"), head
        connection.setblocking(False)
        watchers.append(Watcher(connection, lines))
        selector.register(connection, selectors.EVENT_READ, watchers[-1])
        ready.release()
    while selector.get_map():
        told = selector.select(PATIENCE)
        if not told:
            break
        for key, _ in told:
            if not key.data.read(latencies) or len(key.data.seen) >= wanted:
                selector.unregister(key.fileobj)
    results.put((sum(wanted - len(w.seen) for w in watchers), sum(w.disordered for w in watchers), latencies))


class Caller:
    """One connection on which requests are sent, one after the other."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    @classmethod
    async def connect(cls, url, token):
        self, at = cls(), urlsplit(url)
        self.token = token
        self.reader, self.writer = await asyncio.open_connection(at.hostname, at.port, ssl=context())
        return self

    async def call(self, method, path, body, expected=(200,)):
        self.writer.write(request(method, path, self.token, body))
        head = await self.reader.readuntil(b"\r\n\r\n")
        answer = await self.reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
        assert int(head[9:12]) in expected, answer
        return answer


async def prepare(caller):
    """Make the namespace and its ConfigMaps; return the revision to watch from."""
    await caller.call("POST", "/api/v1/namespaces", b'{"metadata":{"name":"%b"}}' % NAMESPACE.encode(), (201, 409))
    for slot in range(WRITERS):
        await caller.call("POST", PATH, b'{"metadata":{"name":"slot-%d"},"data":{}}' % slot, (201, 409))
    return json.loads(await caller.call("GET", f"{PATH}?limit=1", b""))["metadata"]["resourceVersion"]


async def write(callers, rate, total):
    """Send `total` writes, `rate` in a second, each ConfigMap on a connection of its own; return how long it took."""
    began = time.time()

    async def some(caller, slot):
        for number in range(slot, total, len(callers)):
            await asyncio.sleep(max(0.0, began + number / rate - time.time()))
            data = f'{{"at":"{time.time():.6f}","number":"{number}","text":"{"x" * 200}"}}'
            body = f'{{"metadata":{{"name":"slot-{slot}"}},"data":{data}}}'
            await caller.call("PUT", f"{PATH}/slot-{slot}", body.encode())

    await asyncio.gather(*(some(caller, slot) for slot, caller in enumerate(callers)))
    return time.time() - began


async def main(url, token, watchers=200, rate=1000, seconds=8):
    spawn = multiprocessing.get_context("spawn")
    ready, results, total = spawn.Semaphore(0), spawn.Queue(), rate * seconds
    callers = [await Caller.connect(url, token) for _ in range(WRITERS)]
    start = await prepare(callers[0])
    counts = [len(range(first, watchers, PROCESSES)) for first in range(PROCESSES)]
    for count in counts:
        spawn.Process(target=watch, args=(url, token, count, start, total, ready, results), daemon=True).start()
    for _ in range(watchers):
        await asyncio.to_thread(ready.acquire)
    took = await write(callers, rate, total)
    found = [await asyncio.to_thread(results.get) for _ in counts]
    latencies = sorted(sum((one[2] for one in found), Counter()).elements())
    p50, p99 = (latencies[int(len(latencies) * q)] for q in (0.5, 0.99))
    print(
        f"{watchers} watchers, {total / took:.0f} writes/s: lost {sum(one[0] for one in found)}, out of order "
        f"{sum(one[1] for one in found)}, p50 {p50} ms, p99 {p99} ms"
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3], *map(int, sys.argv[3:])))
