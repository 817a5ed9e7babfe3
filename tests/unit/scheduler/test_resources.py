from typing import Any

import pytest

from wherry.scheduler.plugins.noderesourcesfit import least_allocated, most_allocated, requested_to_capacity_ratio
from wherry.scheduler.resources import counted_spec, pod_requests


def _container(cpu: str = "", memory: str = "", **more: Any) -> dict[str, Any]:
    requests = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"resources": {"requests": requests}, **more}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [_container("100m"), _container("200m")]}, 300),
        ({"containers": [_container("100m")], "initContainers": [_container("1"), _container("500m")]}, 1000),
        # A sidecar runs beside the containers, and beside the init containers after it.
        ({"containers": [_container("100m")], "initContainers": [_container("200m", restartPolicy="Always")]}, 300),
        (
            {
                "containers": [_container("100m")],
                "initContainers": [_container("200m", restartPolicy="Always"), _container("400m")],
            },
            600,
        ),
        ({"containers": [_container("100m")], "overhead": {"cpu": "50m"}}, 150),
        ({"containers": [_container("100m")], "resources": {"requests": {"cpu": "2"}}}, 2000),
    ],
)
def test_requests_add_up_as_the_pod_will_use_them(spec: dict[str, Any], cpu: int) -> None:
    assert pod_requests(spec)[0]["cpu"] == cpu


def test_scoring_counts_a_little_for_who_asks_for_nothing() -> None:
    asked, cpu, memory = pod_requests({"containers": [_container(), _container("1")]})
    assert (asked, cpu, memory) == ({"cpu": 1000}, 1100, 2 * 200 * 1024 * 1024)


def test_strategies_score_by_what_is_left_or_used() -> None:
    assert (least_allocated(25, 100), least_allocated(101, 100)) == (75, 0)
    assert most_allocated(25, 100) == 25
    ratio = requested_to_capacity_ratio([(0, 0), (50, 100), (100, 20)])
    assert [ratio(used, 100) for used in (0, 25, 50, 75, 100)] == [0, 50, 100, 60, 20]


def _resizing(spec_cpu: str, *, allocated: str, actual: str, reason: str = "") -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": {"cpu": spec_cpu}}}
    held = {"name": "c", "allocatedResources": {"cpu": allocated}, "resources": {"requests": {"cpu": actual}}}
    conditions = [{"type": "PodResizePending", "status": "True", "reason": reason}] if reason else []
    return {"spec": {"containers": [container]}, "status": {"containerStatuses": [held], "conditions": conditions}}


@pytest.mark.parametrize(
    ("pod", "counted"),
    [
        (_resizing("1", allocated="1", actual="1"), 1000),
        (_resizing("2", allocated="1", actual="1", reason="Deferred"), 2000),
        (_resizing("2", allocated="1", actual="500m", reason="Infeasible"), 1000),
        (_resizing("500m", allocated="500m", actual="1"), 1000),
        ({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}, 1000),
    ],
)
def test_a_resize_counts_with_the_most_it_may_hold_and_not_with_what_is_infeasible(
    pod: dict[str, Any], counted: int
) -> None:
    assert pod_requests(counted_spec(pod))[0]["cpu"] == counted
