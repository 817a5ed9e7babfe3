"""Golden files: `status/*.yaml` hold a pod, what the runtime has, and the status that they make."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.kubelet import labels
from wherry.kubelet.runtime_cache import PodRuntime
from wherry.kubelet.status import Failure, Observed, Waiting, pod_status
from wherry.runtime.protocol import ContainerStatus, SandboxStatus
from wherry.util import virtualtime

CASES = sorted((Path(__file__).parent / "status").glob("*.yaml"))


def _runtime(given: dict[str, Any]) -> PodRuntime:
    runtime = PodRuntime()
    if given.get("sandbox"):
        runtime.sandboxes["s"] = SandboxStatus(
            id="s", ready=given["sandbox"] == "ready", labels={}, created_at=0, network_namespace=None
        )
    for found in given.get("containers", ()):
        runtime.containers[found["id"]] = ContainerStatus(
            id=found["id"], sandbox_id="s", name=found["name"], state=found["state"], pid=0,
            labels={
                labels.CONTAINER_NAME: found["name"], labels.RESTART_COUNT: str(found.get("attempt", 0)),
                labels.IMAGE: "docker.io/library/app:1", labels.IMAGE_ID: "sha256:abc", labels.USER: "1000:0:0,2000",
            },
            created_at=0,
            started_at=virtualtime.EPOCH + found.get("started", 0),
            finished_at=virtualtime.EPOCH + found["finished"] if "finished" in found else 0,
            exit_code=found.get("exit", 0), signal=found.get("signal", 0), reason=found.get("reason", ""),
        )  # fmt: skip
    return runtime


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_status_is_the_golden_one(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    given = case["observed"]
    seen = Observed(
        runtime=_runtime(given),
        now="2026-01-01T01:00:00Z",
        start_time="2026-01-01T00:00:00Z",
        host_ip="192.168.0.1",
        pod_ips=tuple(given.get("ips", ())),
        waiting={name: Waiting(*words) for name, words in given.get("waiting", {}).items()},
        ready=frozenset(given.get("ready", ())),
        started=frozenset(given.get("started", ())),
        messages=given.get("messages", {}),
        failure=Failure(*given["failure"]) if given.get("failure") else None,
        stopped=given.get("stopped", False),
    )
    pod = {"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 2}, **case["pod"]}
    assert pod_status(pod, seen) == case["status"]
