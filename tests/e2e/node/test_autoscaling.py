"""A HorizontalPodAutoscaler over what the node measures: load comes, pods come; it goes, they go."""

from typing import Any

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.world import World

_LOAD = "trap exit TERM; while :; do [ -f /idle ] && sleep 1; done"


def _replicas(world: World, number: int, what: str) -> Any:
    def scaled(deployment: Any) -> bool:
        return deployment["spec"]["replicas"] == number == (deployment.get("status") or {}).get("readyReplicas")

    return world.api.wait(f"{world.apis('apps/v1')}/deployments/worker", scaled, what=what, seconds=150, step=0.5)


def test_an_autoscaler_follows_the_load_up_and_down(world: World) -> None:
    labels = {"app": "worker"}
    resources = {"requests": {"cpu": "50m"}, "limits": {"cpu": "100m"}}
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", _LOAD], "resources": resources}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
        },
    }
    world.api.create(f"{world.apis('apps/v1')}/deployments", {"metadata": {"name": "worker"}, "spec": spec})
    world.kubectl("autoscale", "deployment/worker", "--min=1", "--max=3", "--cpu-percent=60")
    autoscaler = f"{world.apis('autoscaling/v2')}/horizontalpodautoscalers/worker"
    at_once = {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}
    world.api.patch(autoscaler, at_once)

    _replicas(world, 3, "three pods at twice the load that is wanted")
    scaled = world.api.get(autoscaler)["status"]
    assert scaled["currentMetrics"][0]["resource"]["current"]["averageUtilization"] > 60

    for pod in world.api.get(f"{world.core}/pods", labelSelector="app=worker")["items"]:
        world.exec(pod["metadata"]["name"], "touch /idle")
    _replicas(world, 1, "one pod when nothing is left to do")
    said = world.kubectl("describe", "hpa", "worker")
    assert "New size: 3; reason: cpu resource utilization (percentage of request) above target" in said
    assert "New size: 1; reason: All metrics below target" in said
