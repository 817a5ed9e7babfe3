#!/usr/bin/env python3
"""Run Deployments on fake nodes at several sizes of cluster, and say what that costs the server.

usage: bench/scale.py [--nodes 50,200,500] [--pods-per-node 30] [--replicas 50] [--delay S] [--phases …] [--profile]

At each size, on a control plane of its own (no root): all nodes Ready; nothing to do; Deployments created until every
pod is Ready; single pods deleted, ten a second, and replaced: the same stream of changes at every size; a rolling
update of all Deployments; a tenth of the nodes vanish until every Deployment is whole again elsewhere; the nodes come
back until what was lost on them is gone. A row tells the wall time, the processor time of the server (fake kubelets
included), that time without what the nodes' heartbeats take (the idle phase) for each pod of the cluster, that was
deleted, or that lost its node, and the server's memory. The last column compares that time with the smallest cluster:
1.0 where the cost of one pod does not depend on the others. With --profile (needs py-spy) the time is told for each
part of the server too. Runs from the checkout that it lies in.
"""

import argparse
import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.scale.plane import Plane, Workload, running  # noqa: E402

RATE = 100
SINGLE = 300
PHASES = "idle,create,single,roll,vanish,back"
PARTS = re.compile(r"wherry/((?:controllers|scheduler/plugins|scheduler|kubelet/fake|apiserver|client|store)/\w+)\.py")
FRAMES = {"controllers/controller", "controllers/manager"}


class Profile:
    """Samples the server with py-spy while a phase runs and tells which part each sample belongs to."""

    def __init__(self, pid, file):
        command = ["py-spy", "record", "--nonblocking", "-r", str(RATE), "-f", "raw", "-F", "-d", "86400"]
        self.file = file
        tool = str(Path(sys.executable).with_name("py-spy"))
        self.process = subprocess.Popen(
            [tool, *command[1:], "-o", str(file), "-p", str(pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def parts(self):
        """Stop and return the seconds of each part."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        seconds = Counter()
        for line in self.file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            if not count.isdigit():
                continue  # read without pausing the process, a name may be garbage
            found = [part for part in PARTS.findall(stack) if part not in FRAMES]
            first = [part for part in found if not part.startswith(("apiserver", "client", "store"))] or found
            seconds[first[0] if first else "other"] += int(count) / RATE
        return seconds


class Bench:
    """Runs the phases at one size and prints a row for each."""

    def __init__(self, workload, options, folder, baseline):
        self.workload, self.options, self.folder, self.baseline = workload, options, folder, baseline
        self.plane = workload.plane
        self.idle = 0.0

    async def phase(self, name, pods, work):
        began, cpu = time.monotonic(), self.plane.cpu()
        profile = Profile(self.plane.pid, self.folder / "profile.txt") if self.options.profile else None
        await work()
        wall, cpu = time.monotonic() - began, self.plane.cpu() - cpu
        each = 1000 * (cpu - self.idle * wall) / pods
        ratio = each / self.baseline.setdefault(name, each)
        print(
            f"{self.plane.nodes:>5} {self.workload.pods:>6}  {name:<14} {wall:>7.1f} {cpu:>8.1f} {each:>8.2f}"
            f" {self.plane.memory():>8.0f} {ratio:>6.2f}",
            flush=True,
        )
        if profile is not None:
            parts = profile.parts()
            scale = cpu / max(sum(parts.values()), 0.01)
            for part, seconds in parts.most_common(self.options.top):
                own = 1000 * seconds * scale / pods
                ratio = own / self.baseline.setdefault((name, part), max(own, 0.001))
                print(f"{'':>14}{part:<40} {own:>8.3f} ms/pod {ratio:>14.2f}", flush=True)

    async def whole(self):
        await self.plane.wait("Deployments", self.workload.complete, patience=self.options.patience, period=1)

    async def run(self):
        workload, plane = self.workload, self.plane
        gone = range(max(1, plane.nodes // 10))

        async def idle():
            spent, began = plane.cpu(), time.monotonic()
            await asyncio.sleep(self.options.idle)
            wall, spent = time.monotonic() - began, plane.cpu() - spent
            self.idle = spent / wall
            print(f"{plane.nodes:>5} {'':>6}  {'idle':<14} {wall:>7.1f} {spent:>8.1f}", flush=True)

        async def create():
            await workload.create()
            await self.whole()

        async def single():
            pods = await workload.list_pods()
            chosen = [pods[number * len(pods) // SINGLE] for number in range(min(SINGLE, len(pods)))]
            began = time.monotonic()
            for number, pod in enumerate(chosen):
                await asyncio.sleep(began + number / 10 - time.monotonic())
                metadata = pod["metadata"]
                await plane.call("DELETE", f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}")
            await self.whole()

        async def roll():
            await workload.roll("2")
            await self.whole()
            await plane.wait("pods", workload.settled, patience=self.options.patience, period=2)

        async def vanish():
            await plane.vanish(gone)
            await plane.wait("pods of lost nodes", self.moved, patience=self.options.patience, period=5)
            await self.whole()

        async def back():
            await plane.vanish(gone, gone=False)
            await plane.wait("pods", workload.settled, patience=self.options.patience, period=2)

        lost = None
        for name in self.options.phases.split(","):
            match name:
                case "idle":
                    await idle()
                case "create":
                    await self.phase("create", workload.pods, create)
                case "single":
                    await self.phase("single pods", min(SINGLE, workload.pods), single)
                case "roll":
                    await self.phase("rolling update", workload.pods, roll)
                case "vanish":
                    lost = max(1, len(await self.on_gone(gone)))
                    await self.phase(f"{len(gone) / plane.nodes:.0%} vanish", lost, vanish)
                case "back":
                    await self.phase("they come back", lost, back)

    async def on_gone(self, gone):
        names = {f"fake-{number}" for number in gone}
        pods = await self.workload.list_pods()
        return [p for p in pods if p["spec"].get("nodeName") in names and "deletionTimestamp" not in p["metadata"]]

    async def moved(self):
        left = len(await self.on_gone(range(max(1, self.plane.nodes // 10))))
        return left == 0 or f"{left} pods on lost nodes"


async def measure(nodes, options, baseline):
    folder = Path(tempfile.mkdtemp(prefix="wherry-scale-"))
    began = time.monotonic()
    try:
        async with running(Plane(folder, nodes=nodes, delay=options.delay, port=options.port)) as plane:
            print(
                f"{nodes:>5} {'':>6}  {'nodes Ready':<14} {time.monotonic() - began:>7.1f} {plane.cpu():>8.1f}",
                flush=True,
            )
            count = max(1, nodes * options.pods_per_node // options.replicas)
            workload = Workload(plane, count=count, size=options.replicas, toleration=1)
            await Bench(workload, options, folder, baseline).run()
            log = (folder / "server.log").read_text()
            if "Traceback" in log:
                print(f"the server logged errors:\n{log[log.index('Traceback') - 200 :][:2000]}")
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="50,200,500", help="sizes of cluster, one after the other")
    parser.add_argument("--pods-per-node", type=int, default=30)
    parser.add_argument("--replicas", type=int, default=50, help="pods of one Deployment")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds until a pod on its node is Ready")
    parser.add_argument("--idle", type=int, default=30, help="seconds to measure with nothing to do")
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds to wait for a phase")
    parser.add_argument("--phases", default=PHASES, help="what to measure, in this order; all but idle need create")
    parser.add_argument("--profile", action="store_true", help="tell the time of each part (needs py-spy)")
    parser.add_argument("--top", type=int, default=16, help="parts to tell")
    parser.add_argument("--port", type=int, default=None)
    options = parser.parse_args()
    print("nodes   pods  phase             wall s    CPU s   ms/pod  mem MiB  ratio", flush=True)
    baseline = {}
    for nodes in options.nodes.split(","):
        asyncio.run(measure(int(nodes), options, baseline))


if __name__ == "__main__":
    main()
