"""The clock of a live cluster is set ahead by hours, then back.

Times of files are still the machine's, and with them the ends of containers: back-offs under a clock that was set are a
unit test's.
"""

import base64
import contextlib
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.world import World, eventually, is_ready
from tests.e2e.node.disturb import events, kill, up
from wherry.util import clock

_ROOT = Path(__file__).parents[3]
_NODE = "/api/v1/nodes/node-a"
_HOURS = 5 * 3600.0
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


class Clock:
    """The clock of the two processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set(0.0)

    def set(self, seconds: float) -> None:
        """Set it off by so many seconds from now on."""
        if not self._path.exists():
            self._path.write_bytes(bytes(8))
        with self._path.open("r+b") as file:
            file.write(struct.pack("d", seconds))


@pytest.fixture
def shifted(world: World, tmp_path: Path) -> Iterator[Clock]:
    """The cluster with a clock of its own."""
    made = Clock(tmp_path / "shift")
    started = []
    for process in ("node", "server"):
        kill(world, process)
    for process in ("server", "node"):
        with Path("/var/log/wherry", world.cluster.name, f"{process}.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.e2e.node.shifted", str(tmp_path / "shift"), process]
            arguments = [*command, "--name", world.cluster.name]
            environment = world.cluster.environment | {"PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}"}
            started.append(subprocess.Popen(arguments, stdout=log, stderr=log, env=environment))
    try:
        eventually(lambda: _node_is(world, "True"), "the node is ready", seconds=60)
        yield made
    finally:
        for each in started:
            each.kill()
            each.wait()
        up(world)


def _node_is(world: World, status: str) -> bool:
    with contextlib.suppress(OSError):
        conditions = world.api.get(_NODE)["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == status for c in conditions)
    return False


def _issued(world: World, name: str) -> float:
    """Return when the token that a pod sees was issued."""
    claims = world.exec(name, f"cat {_TOKEN}").split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(claims + "=="))["iat"])


def _jobs(world: World) -> list[dict[str, Any]]:
    return list(world.api.get(f"{world.apis('batch/v1')}/jobs")["items"])


def test_a_clock_that_is_set_ahead_and_back_disturbs_nobody(world: World, shifted: Clock) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1}
    world.pod("steady", container={"livenessProbe": probe, "readinessProbe": probe})
    container = {"name": "c", "image": IMAGE, "command": ["true"]}
    template = {"spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}}
    spec = {"schedule": "* * * * *", "jobTemplate": template}
    steady = world.ready("steady")
    world.api.create(f"{world.apis('batch/v1')}/cronjobs", {"metadata": {"name": "minutely"}, "spec": spec})
    for shift, way in ((_HOURS, "ahead"), (0.0, "back")):
        jobs = len(_jobs(world))
        shifted.set(shift)

        def told(way: str = way) -> bool:
            found = events(world, "node-a", "default")
            return any(e["reason"] == "ClockSet" and f"was set {way} by 5h0m0s" in e["message"] for e in found)

        eventually(told, f"the node notices that the clock was set {way}", seconds=40)
        eventually(lambda: _node_is(world, "True"), "the node is ready", seconds=30)

        def renewed(shift: float = shift) -> bool:
            return abs(_issued(world, "steady") - clock.seconds() - shift) < 60

        eventually(renewed, "a new token", seconds=30)
        world.pod(f"new-{way}")
        world.ready(f"new-{way}")
        assert len(_jobs(world)) - jobs <= 2, "one for all the times that were missed, and perhaps the next"
        pod = world.api.get(f"{world.core}/pods/steady")
        assert is_ready(pod)
        assert pod["metadata"]["uid"] == steady["metadata"]["uid"]
        assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0]
