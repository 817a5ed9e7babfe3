"""Kills the node process of a cluster at random moments of many pods' lives and looks for what is lost or left.

usage: python -m tests.e2e.node.kills CLUSTER KUBECONFIG [KILLS [SEED]]
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.api import STRATEGIC, Api, Refused
from tests.e2e.conformance.world import eventually
from tests.e2e.node.lives import LIVES, Life, miscounted
from tests.e2e.node.slowregistry import SlowRegistry
from wherry.util import clock

_NODE = [sys.executable, "-m", "wherry.cluster.node"]
_PATIENCE = 90.0


class Siege:
    """One cluster, one namespace, and pods that each note their starts in a directory of this machine."""

    def __init__(self, cluster: str, kubeconfig: Path, *, image: str = IMAGE) -> None:
        self.cluster, self.image = cluster, image
        self.api = Api(kubeconfig)
        self.run = Path("/run/wherry", cluster)
        made = self.api.create("/api/v1/namespaces", {"metadata": {"generateName": "kills-"}})
        self.ns = made["metadata"]["name"]
        self.pods = f"/api/v1/namespaces/{self.ns}/pods"
        self.api.wait(f"/api/v1/namespaces/{self.ns}/serviceaccounts/default", bool)
        self.process: subprocess.Popen[bytes] | None = None
        self.registry = SlowRegistry()
        self.starts = Path(tempfile.mkdtemp(prefix="kills-"))
        self.kills: Counter[str] = Counter()

    def node_pid(self) -> int:
        return int((self.run / "node.pid").read_text())

    def kill(self, when: str) -> None:
        """Kill the node process and start another one; `when` is counted."""
        self.kills[when] += 1
        pid = self.process.pid if self.process is not None else self.node_pid()
        os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
            clock.block(0.01)
        self.start()

    def start(self) -> None:
        """Start the node process as ``wherry up`` would."""
        with Path("/var/log/wherry", self.cluster, "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_NODE, "--name", self.cluster], cwd=self.run, stdout=log, stderr=log, start_new_session=True
            )

    def create(self, name: str, life: Life) -> None:
        """Create a pod that leads a life."""
        image = self.registry.image(f"{self.ns}-{name}") if life.pulls else self.image
        spec = life.spec(image)
        spec["terminationGracePeriodSeconds"] = 2
        spec["volumes"] = [{"name": "starts", "hostPath": {"path": str(self.starts)}}]
        self.api.create(self.pods, {"metadata": {"name": name}, "spec": spec})

    def delete(self, name: str) -> None:
        try:
            self.api.delete(f"{self.pods}/{name}")
        except Refused as refused:
            if refused.code != 404:
                raise

    def check(self, name: str, settled: Any) -> None:
        """Wait until a pod has come through; each of its containers has then started as often as it says."""
        pod = self.api.wait(
            f"{self.pods}/{name}", lambda pod: pod and settled(pod), what=f"{name} settles", seconds=_PATIENCE
        )
        wrong = miscounted(pod, self.starts)
        assert not wrong, f"{wrong}: {pod['status']}"

    def _mounts(self) -> str:
        """Return what is mounted where the node process is, nothing while there is none."""
        with contextlib.suppress(OSError, ValueError):
            return Path(f"/proc/{self.node_pid()}/mountinfo").read_text()
        return ""

    def left(self) -> Counter[str]:
        """Count what pods of this cluster have on the machine."""
        state = Path("/var/lib/wherry", self.cluster)
        found: Counter[str] = Counter()
        points = [line.split(" ")[4] for line in eventually(self._mounts, "a node process").splitlines()]
        found["mounts"] = sum(1 for p in points if re.search(rf"/wherry/{self.cluster}/.+/.+", p) and "/lock" not in p)
        for name, directory in {
            "sandboxes": state / "containers/sandboxes",
            "containers": state / "containers/containers",
            "roots": state / "images/mounts",
            "volumes": state / "pods",
            "namespaces": self.run / "netns",
            "addresses": self.run / "network",
            "runtime": self.run / "crun",
            "downloads": state / "images/tmp",
        }.items():
            found[name] = len(list(directory.iterdir())) if directory.is_dir() else 0
        for pattern in ("wherry", "*/wherry"):
            for root in Path("/sys/fs/cgroup").glob(f"{pattern}/{self.cluster}"):
                found["cgroups"] += sum(name.startswith("pod") for _, names, _ in os.walk(root) for name in names)
        found["logs"] = len(list(Path("/var/log/pods").glob(f"{self.ns}_*")))
        processes = subprocess.run(["pgrep", "-fc", f"conmon.*/wherry/{self.cluster}/"], capture_output=True, text=True)
        found["conmon"] = int(processes.stdout or 0)
        return +found

    def wait_left(self, wanted: Counter[str], seconds: float = 60) -> None:
        """Wait until no more is there than before."""
        end = clock.monotonic() + seconds
        while (now := self.left()) - wanted:
            assert clock.monotonic() < end, f"left behind: {now - wanted}"
            clock.block(0.2)

    def rounds(self, kills: int, seed: int = 0) -> None:
        """Lead pods through their lives with a kill in the beginning, the middle and the end of each."""
        dice = random.Random(seed)
        before = self.left()
        number = 0
        while self.kills.total() < kills:
            lives = {f"p{number}-{kind}": LIVES[kind] for kind in dice.sample(list(LIVES), dice.randint(1, 4))}
            self._begin(lives, dice)
            self._disturb(lives, dice)
            self._end(lives, dice)
            self.wait_left(before)
            number += 1

    def _begin(self, lives: dict[str, Life], dice: random.Random) -> None:
        for name, life in lives.items():
            self.create(name, life)
        clock.block(dice.uniform(0.0, 1.2))
        self.kill("beginning")
        if dice.random() < 0.3:
            clock.block(dice.uniform(0.0, 1.0))
            self.kill("again at once")
        for name, life in lives.items():
            self.check(name, life.settled)

    def _disturb(self, lives: dict[str, Life], dice: random.Random) -> None:
        for name, life in lives.items():
            if life.change is not None:
                self.api.patch(f"{self.pods}/{name}/resize", life.change, STRATEGIC)
        clock.block(dice.uniform(0.0, 0.3))
        self.kill("middle")
        for name, life in lives.items():
            self.check(name, life.later or life.settled)

    def _end(self, lives: dict[str, Life], dice: random.Random) -> None:
        for name in lives:
            self.delete(name)
        clock.block(dice.uniform(0.0, 1.0))
        self.kill("end")
        for name in lives:
            self.api.gone(f"{self.pods}/{name}", seconds=_PATIENCE)

    def close(self) -> None:
        """Remove what the siege made."""
        self.api.delete(f"/api/v1/namespaces/{self.ns}")
        self.registry.close()
        shutil.rmtree(self.starts)


def main() -> None:
    """Besiege a running cluster."""
    cluster, kubeconfig, *more = sys.argv[1:]
    siege = Siege(cluster, Path(kubeconfig), image=os.environ.get("IMAGE", IMAGE))
    began = clock.monotonic()
    siege.rounds(int(more[0]) if more else 100, int(more[1]) if len(more) > 1 else 0)
    siege.close()
    print(f"{dict(siege.kills)} in {clock.monotonic() - began:.0f} s: nothing lost, nothing twice, nothing left")


if __name__ == "__main__":
    main()
