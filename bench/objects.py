"""Measure GET and POST of a ConfigMap before and after a number of objects is stored, against any API server.

usage: objects.py URL TOKEN [PID] [FEW] [MANY]   (1000 and 100000 objects; needs wrk)

With the PID of the server's process the CPU time of a request is printed too (user and system time of the process
divided by the requests): on a machine that is shared it says more than requests per second.
"""

import asyncio
import os
import re
import ssl
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

HERE = Path(__file__).resolve().parent
NAMESPACE, SECONDS = "objects", 4


def used(pid):
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if pid else 0.0


def wrk(script, url, token, run):
    """Return requests, and requests per second."""
    command = ["wrk", "-t1", "-c16", f"-d{SECONDS}s", "-s", str(HERE / script), url]
    environment = {**os.environ, "TOKEN": token, "RUN": run}
    said = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    if "Non-2xx" in said:
        sys.exit(f"errors in the answers:\n{said}")
    found = re.search(r"(\d+) requests in.*Requests/sec:\s+([\d.]+)", said, re.DOTALL)
    return int(found.group(1)), float(found.group(2))


def measure(url, token, pid, stored):
    """Print one row; `stored` is how many objects there are. Return how many the POSTs added."""
    at = f"{url}/api/v1/namespaces/{NAMESPACE}/configmaps"
    shown, added = [], 0
    for what, script, path in (("GET", "wrk_get.lua", f"{at}/one"), ("POST", "wrk_post_cm.lua", at)):
        before = used(pid)
        requests, rate = wrk(script, path, token, f"s{stored}")
        time.sleep(0.5)
        cost = f", {(used(pid) - before) / requests * 1e6:.0f} us CPU" if pid else ""
        shown.append(f"{what} {rate:,.0f}/s{cost}")
        added = requests if what == "POST" else added
    print(f"{stored:,} objects: {'; '.join(shown)}", flush=True)
    return added


async def fill(url, token, names):
    """Store a ConfigMap for each of `names`, 32 at a time."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=context)) as session:

        async def create(path, body):
            async with session.post(f"{url}/api/v1/{path}", data=body) as answer:
                assert answer.status in (201, 409), await answer.text()

        async def some(rest):
            for name in rest:
                body = f'{{"metadata":{{"name":"{name}","labels":{{"app":"bench"}}}},"data":{{"k":"{"x" * 200}"}}}}'
                await create(f"namespaces/{NAMESPACE}/configmaps", body)

        await create("namespaces", f'{{"metadata":{{"name":"{NAMESPACE}"}}}}')
        rest = iter(names)  # shared: each of them takes the next one
        await asyncio.gather(*(some(rest) for _ in range(32)))


def main(url, token, pid="0", few="1000", many="100000"):
    asyncio.run(fill(url, token, ["one", *(f"few-{i}" for i in range(int(few)))]))
    stored = int(few) + measure(url, token, int(pid), int(few))
    asyncio.run(fill(url, token, (f"many-{i}" for i in range(int(many) - stored))))
    measure(url, token, int(pid), int(many))


if __name__ == "__main__":
    main(*sys.argv[1:])
