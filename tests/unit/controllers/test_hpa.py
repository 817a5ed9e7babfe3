from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running, template
from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS
from wherry.client.transport import Call
from wherry.controllers import hpareplicas
from wherry.controllers.deployment import DeploymentController
from wherry.controllers.hpa import HorizontalPodAutoscalerController
from wherry.controllers.hpabehavior import Entry, History, Inputs, decide
from wherry.controllers.hpareplicas import Sample, Tolerance
from wherry.controllers.replicaset import ReplicaSetController
from wherry.util import clock

KINDS = (HorizontalPodAutoscalerController, DeploymentController, ReplicaSetController)
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
QUEUE = {"type": "External", "external": {
    "metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}}  # fmt: skip


def make_hpa(*metrics: Object, name: str = "h", **spec: object) -> Object:
    return {
        "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "minReplicas": 1,
                 "maxReplicas": 10, "metrics": list(metrics), **spec},
    }  # fmt: skip


def make_deployment(replicas: int) -> Object:
    pods = template()
    pods["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
    return {
        "kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d", "namespace": "ns"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pods},
    }  # fmt: skip


class Metrics:
    """Answers the metrics APIs of a cluster, and gives scales their selector as the server does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.cpu: int | None = None
        self.queue: int | None = None
        cluster.fake.react(self)

    def __call__(self, call: Call) -> Object | None:
        if call.resource.group == "metrics.k8s.io":
            if self.cpu is None:
                raise errors.NotFound.path()
            usage = {"containers": [{"name": "c", "usage": {"cpu": f"{self.cpu}m"}}], "timestamp": clock.timestamp()}
            return {"items": [{"metadata": pod["metadata"], **usage, "window": "15s"} for pod in self.cluster.pods()]}
        if call.resource.group == "external.metrics.k8s.io":
            if self.queue is None:
                raise errors.NotFound.path()
            return {"items": [{"value": str(self.queue)}]}
        if call.resource is DEPLOYMENTS and call.subresource == "scale" and call.verb == "get":
            found = self.cluster.get(DEPLOYMENTS, "d")
            status = {"replicas": (found.get("status") or {}).get("replicas", 0), "selector": "app=web"}
            return {"kind": "Scale", "apiVersion": "autoscaling/v1",
                    "metadata": {"name": "d", "namespace": "ns"},
                    "spec": {"replicas": found["spec"]["replicas"]}, "status": status}  # fmt: skip
        return None


def replicas(cluster: Cluster) -> int:
    return cluster.get(DEPLOYMENTS, "d")["spec"]["replicas"]


def condition(cluster: Cluster, kind: str, name: str = "h") -> tuple[str, str, str]:
    found = meta.condition(cluster.get(HORIZONTALPODAUTOSCALERS, name), kind)
    return (found["status"], found["reason"], found["message"]) if found else ("", "", "")


async def test_a_missing_metrics_api_is_said_in_upstreams_words() -> None:
    async with running(*KINDS, objects=(make_deployment(2),)) as cluster:
        Metrics(cluster)
        cluster.fake.put(make_hpa(CPU))
        await cluster.settle(20)
        text = (
            "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from "
            "resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
        )
        assert condition(cluster, "ScalingActive") == (
            "False", "FailedGetResourceMetric", f"the HPA was unable to compute the replica count: {text}",
        )  # fmt: skip
        assert condition(cluster, "AbleToScale")[1] == "SucceededGetScale"
        found = await cluster.events()
        assert f"FailedGetResourceMetric: {text}" in found
        summary = (
            f"invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {text}"
        )
        assert f"FailedComputeMetricsReplicas: {summary}" in found
        status = cluster.get(HORIZONTALPODAUTOSCALERS, "h")["status"]
        assert status["currentReplicas"] == 2 and status["desiredReplicas"] == 0


async def test_the_size_follows_the_load_up_at_once_and_down_after_the_window() -> None:
    async with running(*KINDS, objects=(make_deployment(2),)) as cluster:
        metrics = Metrics(cluster)
        metrics.cpu = 100
        for pod in cluster.pods():
            cluster.set_phase(pod, "Running", startTime=clock.timestamp())
        await cluster.settle(400)
        cluster.fake.put(make_hpa(CPU))
        await cluster.settle(20)
        assert replicas(cluster) == 4
        assert condition(cluster, "AbleToScale") == (
            "True", "SucceededRescale", "the HPA controller was able to update the target scale to 4",
        )  # fmt: skip
        assert (
            "SuccessfulRescale: New size: 4; reason: cpu resource utilization (percentage of request) above target"
            in (await cluster.events())
        )
        [seen] = cluster.get(HORIZONTALPODAUTOSCALERS, "h")["status"]["currentMetrics"]
        assert seen == {"type": "Resource", "resource": {
            "name": "cpu", "current": {"averageUtilization": 100, "averageValue": "100m"}}}  # fmt: skip
        metrics.cpu = 10
        await cluster.settle(200)
        assert replicas(cluster) >= 4 and condition(cluster, "AbleToScale")[1] == "ScaleDownStabilized"
        await cluster.settle(400)
        assert replicas(cluster) == 1
        assert "SuccessfulRescale: New size: 1; reason: All metrics below target" in await cluster.events()


async def test_it_grows_on_one_metric_but_does_not_shrink_while_another_is_missing() -> None:
    async with running(*KINDS, objects=(make_deployment(3),)) as cluster:
        metrics = Metrics(cluster)
        metrics.queue = 50
        cluster.fake.put(make_hpa(QUEUE, CPU))
        await cluster.settle(20)
        assert replicas(cluster) == 5
        assert condition(cluster, "ScalingActive")[2].endswith("a replica count from external metric queue(nil)")
        metrics.queue = 1
        await cluster.settle(1000)
        assert replicas(cluster) == 5 and condition(cluster, "ScalingActive")[0] == "False"


async def test_the_bounds_hold_without_metrics_and_zero_turns_it_off() -> None:
    async with running(*KINDS, objects=(make_deployment(1),)) as cluster:
        Metrics(cluster)
        cluster.fake.put(make_hpa(CPU, minReplicas=3))
        await cluster.settle(20)
        assert replicas(cluster) == 3
        stopped = cluster.get(DEPLOYMENTS, "d")
        stopped["spec"]["replicas"] = 0
        cluster.fake.put(stopped)
        await cluster.settle(20)
        assert condition(cluster, "ScalingActive")[1] == "ScalingDisabled" and replicas(cluster) == 0


async def test_two_autoscalers_of_the_same_pods_do_nothing() -> None:
    async with running(*KINDS, objects=(make_deployment(3),)) as cluster:
        Metrics(cluster).queue = 50
        cluster.fake.put(make_hpa(CPU, name="a"))
        cluster.fake.put(make_hpa(QUEUE, name="b"))
        await cluster.settle(50)
        for name in ("a", "b"):
            status, reason, message = condition(cluster, "ScalingActive", name)
            assert (status, reason) == ("False", "AmbiguousSelector")
            assert message == "pods by selector app=web are controlled by multiple HPAs: [ns/a ns/b]"


def inputs(current: int, desired: int, behavior: Object | None = None, **more: object) -> Inputs:
    values = {"least": 1, "most": 100, "history": History(), "default_window": 300.0, "now": 1000.0, **more}
    return Inputs(current, desired, behavior=behavior, **values)  # type: ignore[arg-type]


def test_policies_count_what_changed_in_their_period() -> None:
    policies = [
        {"type": "Pods", "value": 4, "periodSeconds": 60},
        {"type": "Percent", "value": 50, "periodSeconds": 60},
    ]
    behavior = {"scaleUp": {"policies": policies, "stabilizationWindowSeconds": 0}}
    assert decide(inputs(10, 50, behavior)).replicas == 15
    grown = History(grown=[Entry(990.0, 3)])
    assert decide(inputs(10, 50, behavior, history=grown)).replicas == 11
    behavior["scaleUp"]["selectPolicy"] = "Min"
    assert decide(inputs(10, 50, behavior)).replicas == 14
    behavior["scaleUp"]["selectPolicy"] = "Disabled"
    assert decide(inputs(10, 50, behavior)).replicas == 10


def test_shrinking_is_limited_and_stabilised() -> None:
    policy = {"type": "Percent", "value": 10, "periodSeconds": 60}
    behavior = {"scaleDown": {"policies": [policy], "stabilizationWindowSeconds": 0}}
    decision = decide(inputs(50, 5, behavior))
    assert (decision.replicas, decision.limit.reason) == (45, "ScaleDownLimit")
    recent = History(recommendations=[Entry(900.0, 48)])
    decision = decide(inputs(50, 5, {"scaleDown": {"policies": [policy]}}, history=recent))
    assert (decision.replicas, decision.able.reason) == (48, "ScaleDownStabilized")


@given(st.integers(1, 50), st.integers(0, 200), st.integers(1, 10), st.integers(10, 60), st.booleans())
def test_a_decision_stays_within_the_bounds(current: int, desired: int, least: int, most: int, own: bool) -> None:
    policies = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
    behavior = {"scaleUp": {"policies": policies}, "scaleDown": {"policies": policies}} if own else None
    current = min(max(current, least), most)
    decision = decide(inputs(current, desired, behavior, least=least, most=most))
    assert least <= decision.replicas <= most
    assert decision.limited == (decision.limit.reason != "DesiredWithinRange")


def ready_pod(name: str, phase: str = "Running") -> Object:
    long_ago = clock.timestamp(clock.now() - timedelta(hours=1))
    status = {"phase": phase, "startTime": long_ago, "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": long_ago}]}  # fmt: skip
    container = {"name": "c", "resources": {"requests": {"cpu": "1"}}}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"containers": [container]}, "status": status}


@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 4), st.integers(0, 4000), st.integers(10, 300))
def test_pods_without_metrics_never_speed_a_change_up(
    count: int, missing: int, pending: int, used: int, target: int
) -> None:
    now = clock.now()
    measured = [ready_pod(f"p{at}") for at in range(count)]
    others = [ready_pod(f"m{at}") for at in range(missing)] + [ready_pod(f"w{at}", "Pending") for at in range(pending)]
    samples = {meta.name(pod): Sample(used, now, timedelta(seconds=15)) for pod in measured}
    total = len(measured) + len(others)
    proposal = hpareplicas.by_utilization(
        total,
        target,
        samples,
        [*measured, *others],
        resource="cpu",
        container="",
        tolerance=Tolerance(0.1, 0.1),
        now=now,
    )
    percent = used // 10
    assert proposal.utilization == percent
    if missing or (pending and percent > target):
        assert proposal.replicas >= total if percent > target else proposal.replicas <= total
        assert proposal.replicas <= max(total, -(-percent * total // target))
