"""The server process is killed at random while Deployments come, roll, shrink and move: the end is the same.

``python -m tests.e2e.scale.chaos --nodes 500 --pods 15000 --kills 20`` runs it at a size of one's choice.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.e2e.scale.plane import Object, Plane, Workload, running

_PATIENCE = 1800.0


class Siege:
    """Kills a plane's server `kills` times in all, at random moments of the steps between which it waits."""

    def __init__(self, workload: Workload, *, kills: int, seed: int, pause: tuple[float, float]) -> None:
        self.workload = workload
        self.plane = workload.plane
        self.killed = 0
        self._kills = kills
        self._pause = pause
        self._random = random.Random(seed)

    async def run(self) -> None:
        """Go through the steps under fire, then wait until all is as wanted. Raises TimeoutError, AssertionError."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kill())
            await self.workload.create()
            await self.plane.wait("created", self.workload.complete, patience=_PATIENCE)
            await self.workload.roll("2")
            await self.plane.wait("half rolled", self._half_rolled, patience=_PATIENCE)
            await self._move()
            await self.workload.roll("3")
            await self.plane.wait("rolled", self.workload.complete, patience=_PATIENCE)
        await self.plane.wait("Deployments", self.workload.complete, patience=_PATIENCE)
        await self.plane.wait("pods", self.workload.settled, patience=_PATIENCE)
        await self.check()

    async def _kill(self) -> None:
        for _ in range(self._kills):
            await asyncio.sleep(self._random.uniform(*self._pause))
            await asyncio.to_thread(self.plane.kill)
            await asyncio.sleep(self._random.uniform(0, 0.3))
            self.plane.start()
            self.killed += 1

    async def _half_rolled(self) -> Any:
        deployments = await self.plane.items("/apis/apps/v1/deployments")
        updated = sum((d.get("status") or {}).get("updatedReplicas") or 0 for d in deployments)
        return updated >= self.workload.pods // 2 or f"{updated} pods updated"

    async def _move(self) -> None:
        """Drive all pods from a tenth of the nodes."""
        taint = {"key": "chaos", "value": "yes", "effect": "NoExecute"}
        for number in range(max(1, self.plane.nodes // 10)):
            body = {"spec": {"taints": [taint]}}
            await self.plane.call("PATCH", f"/api/v1/nodes/fake-{number}", body, kind="application/merge-patch+json")

    async def check(self) -> None:
        """Compare every object with what one who was never disturbed would see."""
        pods = await self.workload.list_pods()
        sets = {s["metadata"]["uid"]: s for s in await self.plane.items("/apis/apps/v1/replicasets")}
        names = {d["metadata"]["uid"] for d in await self.plane.items("/apis/apps/v1/deployments")}
        owners = Counter(_owner(pod) for pod in pods)
        current = {uid for uid, found in sets.items() if found["spec"]["replicas"]}
        assert owners == dict.fromkeys(current, self.workload.size), "each Deployment has its pods, of one ReplicaSet"
        assert len(current) == len(names) == self.workload.count
        assert {_owner(found) for found in sets.values()} == names, "no ReplicaSet is an orphan"
        addresses = Counter(pod["status"]["podIP"] for pod in pods)
        assert max(addresses.values()) == 1, "no two pods share an address"
        tainted = {f"fake-{number}" for number in range(max(1, self.plane.nodes // 10))}
        assert not [p for p in pods if p["spec"]["nodeName"] in tainted], "nothing is left on the nodes that are closed"
        load = Counter(pod["spec"]["nodeName"] for pod in pods)
        assert max(load.values()) <= 110, "no node has more pods than it takes"
        await self._check_endpoints({pod["metadata"]["uid"] for pod in pods})

    async def _check_endpoints(self, pods: set[str]) -> None:
        async def reached() -> Any:
            slices = await self.plane.items("/apis/discovery.k8s.io/v1/endpointslices")
            found = [e["targetRef"]["uid"] for s in slices for e in s.get("endpoints") or () if "targetRef" in e]
            return sorted(found) == sorted(pods) or f"{len(found)} endpoints for {len(pods)} pods"

        await self.plane.wait("endpoints", reached, patience=30)


def _owner(obj: Object) -> str:
    refs = obj["metadata"].get("ownerReferences") or [{"uid": "none"}]
    return str(refs[0]["uid"])


async def siege(
    folder: Path, *, nodes: int, deployments: int, size: int, kills: int, seed: int, pause: tuple[float, float]
) -> Siege:
    """Run the whole scenario on a plane in `folder`; `pause` bounds the seconds between two kills."""
    async with running(Plane(folder, nodes=nodes, delay=0.2)) as plane:
        found = Siege(Workload(plane, count=deployments, size=size), kills=kills, seed=seed, pause=pause)
        await found.run()
        return found


def main() -> None:
    """Run the scenario at the size that the arguments choose, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--pods", type=int, default=15000)
    parser.add_argument("--replicas", type=int, default=50, help="pods of one Deployment")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pause", type=float, nargs=2, default=(5.0, 30.0), help="bounds of the seconds between kills")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wherry-chaos-") as folder:
        sizes = {"nodes": options.nodes, "deployments": options.pods // options.replicas, "size": options.replicas}
        pause = (options.pause[0], options.pause[1])
        found = asyncio.run(siege(Path(folder), **sizes, kills=options.kills, seed=options.seed, pause=pause))
    print(f"{options.pods} pods on {options.nodes} nodes: the same after {found.killed} kills", end="")
    print(f" in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
