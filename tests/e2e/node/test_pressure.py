"""A node that is short of something: whom it evicts, in what order, and what it says.

Thresholds that no machine meets make a shortage of which this machine itself knows nothing.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.world import World, eventually
from tests.e2e.node.disturb import events, settings

_NODE = "/api/v1/nodes/node-a"
_QUICK = {
    "nodeStatusUpdateFrequency": "1s",
    "evictionPressureTransitionPeriod": "2s",
    "imageMinimumGCAge": "0s",
    "mergeDefaultEvictionSettings": False,
}
_REMAIN = "sleep 1d"
_SPARE = "wherry.local/spare:1"
_AMOUNTS = r"Threshold quantity: \S+, available: \S+\. "
_OVER = r"Container c was using \d+Ki, request is 0, has larger consumption of {}\. "


@pytest.fixture(scope="module")
def critical(world: World) -> Iterator[str]:
    """A pod that stays whatever happens, and keeps the image in use."""
    world.pod("critical", _REMAIN, priorityClassName="system-node-critical")
    world.ready("critical")
    yield "critical"
    assert world.api.get(f"{world.core}/pods/critical")["status"]["phase"] == "Running"


def _condition(world: World, kind: str) -> dict[str, Any]:
    return next(c for c in world.api.get(_NODE)["status"]["conditions"] if c["type"] == kind)


def _wait_condition(world: World, kind: str, status: str) -> None:
    eventually(lambda: _condition(world, kind)["status"] == status, f"{kind} {status}", seconds=30)


def _evicted(world: World, first: str, second: str, message: str) -> None:
    """Wait until two pods are evicted; the first one goes first, with the message."""
    for name in (first, second):
        status = world.ended(name, seconds=60)["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert re.fullmatch(message, world.api.get(f"{world.core}/pods/{first}")["status"]["message"])
    order = [
        int(event["metadata"]["resourceVersion"])
        for name in (first, second)
        for event in events(world, name)
        if event["reason"] == "Evicted"
    ]
    assert len(order) == 2
    assert order == sorted(order)


CASES: dict[str, tuple[str, str, str, str, str]] = {
    "memory": (
        "memory.available",
        "99%",
        "MemoryPressure",
        "dd if=/dev/zero of=/dev/shm/f bs=1M count=40",
        f"The node was low on resource: memory. {_AMOUNTS}{_OVER.format('memory')}",
    ),
    "disk": (
        "nodefs.available",
        "99.9%",
        "DiskPressure",
        "dd if=/dev/zero of=/tmp/f bs=1M count=8",
        f"The node was low on resource: ephemeral-storage. {_AMOUNTS}{_OVER.format('ephemeral-storage')}",
    ),
    "inodes": (
        "nodefs.inodesFree",
        "99.99%",
        "DiskPressure",
        "for n in $(seq 500); do : > /tmp/$n; done",
        f"The node was low on resource: inodes. {_AMOUNTS}",
    ),
    "pids": (
        "pid.available",
        "99.99%",
        "PIDPressure",
        "for n in $(seq 20); do sleep 1d & done",
        f"The node was low on resource: pids. {_AMOUNTS}",
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_who_uses_most_beyond_what_it_asked_for_goes_first_and_critical_pods_stay(
    world: World, critical: str, title: str
) -> None:
    signal, threshold, condition, waste, message = CASES[title]
    world.pod(f"greedy-{title}", f"{waste}; touch /ready; {_REMAIN}", container=_ready_file())
    world.pod(f"modest-{title}", f"touch /ready; {_REMAIN}", container=_ready_file())
    for name in (f"greedy-{title}", f"modest-{title}"):
        world.ready(name)
    with settings(world, evictionHard={signal: threshold}, **_QUICK):
        _wait_condition(world, condition, "True")
        _evicted(world, f"greedy-{title}", f"modest-{title}", message)
        reasons = {event["reason"] for event in events(world, "node-a", "default")}
        assert "EvictionThresholdMet" in reasons
        world.pod(f"late-{title}", _REMAIN, nodeName="node-a")
        late = world.ended(f"late-{title}")["status"]
        assert (late["reason"], late["message"]) == (
            "Evicted",
            f"Pod was rejected: The node had condition: [{condition}]. ",
        )
    _wait_condition(world, condition, "False")


def _ready_file() -> dict[str, Any]:
    return {"readinessProbe": {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1}}


def test_images_that_nobody_uses_go_before_any_pod_does(world: World, critical: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    command = [sys.executable, "-m", "wherry", "image", "build", "--name", world.cluster.name, "-t", _SPARE]
    subprocess.run([*command, str(tmp_path)], env=world.cluster.environment, check=True, capture_output=True)
    eventually(lambda: _SPARE in _images(world), "the node tells of the image")
    with settings(world, evictionHard={"nodefs.available": "99.9%"}, **_QUICK):
        eventually(lambda: _SPARE not in _images(world), "the image goes", seconds=30)
        assert IMAGE in _images(world)


def _images(world: World) -> str:
    return json.dumps(world.api.get(_NODE)["status"]["images"])


def test_a_pod_has_no_more_processes_than_the_node_allows(world: World, critical: str) -> None:
    with settings(world, podPidsLimit=20):
        world.pod("forks", "for n in $(seq 40); do sleep 1d & done; echo all", restartPolicy="Never")
        status = world.ended("forks", seconds=60)["status"]
        assert status["phase"] == "Failed"
        assert "can't fork" in world.log("forks")
