"""An autoscaler loses nothing on its way to the first version and back."""

from typing import Any

from wherry.apiserver import autoscaling

METRICS = [
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
    {
        "type": "Object",
        "object": {
            "metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "Value", "value": "10"},
            "describedObject": {"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"},
        },
    },
    {"type": "Pods", "pods": {"metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "1k"}}},
    {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "3"}}},
    {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu",
            "container": "c",
            "target": {"type": "Utilization", "averageUtilization": 3},
        },
    },
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
]
BEHAVIOR = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
    },
    "scaleDown": {"selectPolicy": "Disabled", "policies": [], "tolerance": "100m"},
}


def autoscaler(**members: Any) -> dict[str, Any]:
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, **members}


def test_the_way_to_the_first_version_and_back_loses_nothing() -> None:
    condition = {"type": "A", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": None}
    obj = autoscaler(
        spec={"maxReplicas": 3, "metrics": METRICS, "behavior": BEHAVIOR},
        status={"currentReplicas": 1, "desiredReplicas": 2, "conditions": [condition], "currentMetrics": None},
    )
    assert autoscaling.to_v2(autoscaling.from_v2(obj)) == obj


def test_the_first_version_shows_the_utilization_of_the_cpu() -> None:
    old = autoscaling.from_v2(autoscaler(spec={"maxReplicas": 3, "metrics": METRICS[-1:]}))
    assert old["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    assert "annotations" not in old["metadata"]


def test_annotations_that_were_written_by_hand_and_mean_nothing_are_dropped() -> None:
    old = autoscaler(spec={"maxReplicas": 3})
    old["metadata"]["annotations"] = {"autoscaling.alpha.kubernetes.io/metrics": "{", "mine": "x"}
    new = autoscaling.to_v2(old)
    assert new["metadata"]["annotations"] == {"mine": "x"}
    assert "metrics" not in new["spec"]
