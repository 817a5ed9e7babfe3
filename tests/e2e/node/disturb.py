"""What tests do to the processes and settings of the session's cluster."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.conformance.world import World, eventually
from wherry.runtime import processes


def state(world: World) -> Path:
    """Return the directory of the cluster's state."""
    return Path("/var/lib/wherry", world.cluster.name)


def kill(world: World, process: str) -> None:
    """Kill a process of the cluster and wait until it is gone."""
    pid = int(Path("/run/wherry", world.cluster.name, f"{process}.pid").read_text())
    processes.kill(pid, processes.start_ticks(pid), patience=10)


def up(world: World) -> None:
    """Start what does not run, as an administrator would."""
    command = [sys.executable, "-m", "wherry", "up", "--name", world.cluster.name]
    subprocess.run(command, env=world.cluster.environment, check=True, capture_output=True, timeout=120)


@contextlib.contextmanager
def settings(world: World, **fields: Any) -> Iterator[None]:
    """Have the node run with these settings in its ``kubelet.yaml``, and after that as before."""
    path = state(world) / "kubelet.yaml"
    document = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **fields}
    try:
        path.write_text(json.dumps(document))
        kill(world, "node")
        up(world)
        yield
    finally:
        path.unlink()
        kill(world, "node")
        up(world)


def events(world: World, name: str, namespace: str = "") -> list[dict[str, Any]]:
    """Return the events about an object, the earliest first."""
    path = f"/api/v1/namespaces/{namespace or world.ns}/events"
    found = world.api.get(path, fieldSelector=f"involvedObject.name={name}")["items"]
    return sorted(found, key=lambda event: int(event["metadata"]["resourceVersion"]))


def reasons(world: World, name: str) -> list[str]:
    """Return the reasons of the events about an object, each as often as it happened."""
    return [event["reason"] for event in events(world, name) for _ in range(event.get("count") or 1)]


def wait_event(world: World, name: str, reason: str, times: int = 1) -> None:
    """Wait until an event about an object has happened so often."""
    eventually(lambda: reasons(world, name).count(reason) >= times, f"{times} {reason} of {name}")
