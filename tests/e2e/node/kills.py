"""Kills the node process of a cluster at random moments of many pods' lives and looks for what is lost or left.

usage: python -m tests.e2e.node.kills CLUSTER KUBECONFIG [ROUNDS [SEED]]
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.api import Api, Refused
from tests.e2e.conformance.world import eventually
from wherry.util import clock

_NODE = [sys.executable, "-m", "wherry.cluster.node"]


class Siege:
    """One cluster, one namespace, and pods that each write their start to their log."""

    def __init__(self, cluster: str, kubeconfig: Path, *, image: str = IMAGE) -> None:
        self.cluster, self.image = cluster, image
        self.api = Api(kubeconfig)
        self.run = Path("/run/wherry", cluster)
        made = self.api.create("/api/v1/namespaces", {"metadata": {"generateName": "kills-"}})
        self.ns = made["metadata"]["name"]
        self.pods = f"/api/v1/namespaces/{self.ns}/pods"
        self.api.wait(f"/api/v1/namespaces/{self.ns}/serviceaccounts/default", bool)
        self.process: subprocess.Popen[bytes] | None = None

    def node_pid(self) -> int:
        return int((self.run / "node.pid").read_text())

    def kill(self) -> None:
        """Kill the node process and start another one."""
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

    def create(self, name: str) -> None:
        script = "echo started; trap exit TERM; sleep 1d & wait"
        containers = [{"name": n, "image": self.image, "command": ["sh", "-c", script]} for n in ("a", "b")]
        spec = {"containers": containers, "terminationGracePeriodSeconds": 2, "restartPolicy": "Never"}
        self.api.create(self.pods, {"metadata": {"name": name}, "spec": spec})

    def delete(self, name: str) -> None:
        try:
            self.api.delete(f"{self.pods}/{name}")
        except Refused as refused:
            if refused.code != 404:
                raise

    def check_running(self, name: str, seconds: float = 60) -> None:
        """Every container of a pod runs, and has started once."""

        def runs(pod: Any) -> bool:
            statuses = (pod or {}).get("status", {}).get("containerStatuses") or ()
            return len(statuses) == 2 and all(s["state"].get("running") for s in statuses)

        pod = self.api.wait(f"{self.pods}/{name}", runs, what=f"{name} runs", seconds=seconds)
        for status in pod["status"]["containerStatuses"]:
            assert status["restartCount"] == 0, status
            answer = eventually(partial(self._log, name, status["name"]), "the node process answers")
            assert answer.split() == ["started"], answer

    def _log(self, name: str, container: str) -> str:
        """Return a log, empty while the node process is away."""
        answer = self.api.raw("GET", f"{self.pods}/{name}/log", container=container)
        return answer.body.decode() if answer.code == 200 else ""

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
        }.items():
            found[name] = len(list(directory.iterdir())) if directory.is_dir() else 0
        for pattern in ("wherry", "*/wherry"):
            for root in Path("/sys/fs/cgroup").glob(f"{pattern}/{self.cluster}"):
                found["cgroups"] += sum(name.startswith("pod") for _, names, _ in os.walk(root) for name in names)
        processes = subprocess.run(["pgrep", "-fc", f"conmon.*/wherry/{self.cluster}/"], capture_output=True, text=True)
        found["conmon"] = int(processes.stdout or 0)
        return +found

    def wait_left(self, wanted: Counter[str], seconds: float = 60) -> None:
        """Wait until no more is there than before."""
        end = clock.monotonic() + seconds
        while (now := self.left()) - wanted:
            assert clock.monotonic() < end, f"left behind: {now - wanted}"
            clock.block(0.2)

    def rounds(self, count: int, seed: int = 0) -> None:
        """Create pods, kill, check, delete, kill, check; `count` kills in all."""
        dice = random.Random(seed)
        before = self.left()
        for number in range(count // 2):
            names = [f"p{number}-{index}" for index in range(dice.randint(1, 4))]
            for name in names:
                self.create(name)
            clock.block(dice.uniform(0.0, 0.6))
            self.kill()
            for name in names:
                self.check_running(name)
            for name in names:
                self.delete(name)
            clock.block(dice.uniform(0.0, 0.4))
            self.kill()
            for name in names:
                self.api.gone(f"{self.pods}/{name}", seconds=60)
            self.wait_left(before)

    def close(self) -> None:
        self.api.delete(f"/api/v1/namespaces/{self.ns}")


def main() -> None:
    """Besiege a running cluster."""
    cluster, kubeconfig, *more = sys.argv[1:]
    siege = Siege(cluster, Path(kubeconfig), image=os.environ.get("IMAGE", IMAGE))
    began = clock.monotonic()
    count = int(more[0]) if more else 100
    siege.rounds(count, int(more[1]) if len(more) > 1 else 0)
    siege.close()
    print(f"{count} kills in {clock.monotonic() - began:.0f} s: nothing lost, nothing twice, nothing left")


if __name__ == "__main__":
    main()
