"""Table cells."""

from datetime import timedelta
from typing import Any

import pytest

from wherry.api import printers
from wherry.api.printers import text
from wherry.api.resources import PODS, TABLE, Resource


@pytest.mark.parametrize("resource", list(TABLE), ids=lambda r: r.group_resource)
def test_every_kind_has_as_many_cells_as_columns(resource: Resource) -> None:
    bare = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}}
    assert len(printers.cells(resource, bare)) == len(printers.columns(resource))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (600, "10m"), (10799, "179m"), (10800, "3h"),
        (3 * 3600 + 300, "3h5m"), (8 * 3600 + 300, "8h"), (47 * 3600, "47h"), (48 * 3600, "2d"), (49 * 3600, "2d1h"),
        (8 * 86400 + 3600, "8d"), (729 * 86400, "729d"), (730 * 86400, "2y"), (800 * 86400, "2y70d"),
        (3000 * 86400, "8y"), (-5, "<invalid>"),
    ],
)  # fmt: skip
def test_an_age_has_at_most_two_units(seconds: int, words: str) -> None:
    assert text.duration(timedelta(seconds=seconds)) == words


def pod(*statuses: dict[str, Any], phase: str = "Running", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": s["name"]} for s in statuses]},
        "status": {"phase": phase, "containerStatuses": list(statuses), **status},
    }


def container(name: str, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "restartCount": 0, "ready": False, **more}


def test_a_waiting_container_names_the_state_of_the_pod() -> None:
    crashed = container("a", {"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=7)
    runs = container("b", {"running": {}}, ready=True)
    assert printers.cells(PODS, pod(crashed, runs))[1:4] == ["1/2", "CrashLoopBackOff", "7"]


def test_a_completed_container_beside_a_running_one_leaves_the_pod_running_or_not_ready() -> None:
    done = container("a", {"terminated": {"exitCode": 0, "reason": "Completed"}})
    runs = container("b", {"running": {}}, ready=True)
    assert printers.cells(PODS, pod(done, runs))[2] == "NotReady"
    ready = [{"type": "Ready", "status": "True"}]
    assert printers.cells(PODS, pod(done, runs, conditions=ready))[2] == "Running"


def test_a_deleted_pod_is_terminating_until_it_has_ended() -> None:
    found = pod(container("a", {"running": {}}, ready=True))
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert printers.cells(PODS, found)[2] == "Terminating"
    found["status"]["phase"] = "Succeeded"
    assert printers.cells(PODS, found)[2] != "Terminating"
