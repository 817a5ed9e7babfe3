from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running, template
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import DEPLOYMENTS, PODDISRUPTIONBUDGETS, PODS
from wherry.controllers.deployment import DeploymentController
from wherry.controllers.disruption import DisruptionController, Inputs, plan
from wherry.controllers.replicaset import ReplicaSetController
from wherry.util import clock


def make_budget(**spec: object) -> Object:
    return {
        "kind": "PodDisruptionBudget", "apiVersion": "policy/v1", "metadata": {"name": "b", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }  # fmt: skip


def make_deployment(replicas: int) -> Object:
    return {
        "kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d", "namespace": "ns"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template()},
    }  # fmt: skip


def status(cluster: Cluster) -> dict[str, int]:
    found = cluster.get(PODDISRUPTIONBUDGETS, "b")["status"]
    return {name: found[name] for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")}


async def test_the_replicas_of_the_deployment_are_what_a_share_is_of() -> None:
    objects = (make_deployment(4), make_budget(maxUnavailable="50%"))
    async with running(DisruptionController, DeploymentController, ReplicaSetController, objects=objects) as cluster:
        assert status(cluster) == {
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 2, "expectedPods": 4,
        }  # fmt: skip
        cluster.run_all()
        await cluster.settle()
        assert status(cluster)["disruptionsAllowed"] == 2
        condition = meta.condition(cluster.get(PODDISRUPTIONBUDGETS, "b"), "DisruptionAllowed")
        assert (condition["status"], condition["reason"], condition["message"]) == ("True", "SufficientPods", "")
        deployment = cluster.get(DEPLOYMENTS, "d")
        deployment["spec"]["replicas"] = 6
        cluster.fake.put(deployment)
        await cluster.settle()
        assert status(cluster) == {
            "disruptionsAllowed": 1, "currentHealthy": 4, "desiredHealthy": 3, "expectedPods": 6,
        }  # fmt: skip


async def test_a_pod_about_to_be_evicted_is_not_healthy_for_two_minutes() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "spec": {},
           "metadata": {"name": "p", "namespace": "ns", "labels": {"app": "web"}}}  # fmt: skip
    async with running(DisruptionController, objects=(make_budget(minAvailable=0), pod)) as cluster:
        cluster.run_all()
        await cluster.settle()
        assert status(cluster)["disruptionsAllowed"] == 1
        budget = cluster.get(PODDISRUPTIONBUDGETS, "b")
        budget["status"].update(disruptionsAllowed=0, disruptedPods={"p": clock.timestamp()})
        cluster.fake.put(budget)
        await cluster.settle()
        assert status(cluster)["currentHealthy"] == 0
        await cluster.settle(120)
        assert status(cluster)["disruptionsAllowed"] == 1
        assert "disruptedPods" not in cluster.get(PODDISRUPTIONBUDGETS, "b")["status"]
        assert "NotDeleted: Pod was expected by PDB ns/b to be deleted but it wasn't" in await cluster.events()


async def test_pods_without_a_scale_allow_nothing() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "spec": {},
           "metadata": {"name": "p", "namespace": "ns", "labels": {"app": "web"}, "ownerReferences": [
               {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}]}}  # fmt: skip
    async with running(DisruptionController, objects=(make_budget(maxUnavailable=1), pod)) as cluster:
        condition = meta.condition(cluster.get(PODDISRUPTIONBUDGETS, "b"), "DisruptionAllowed")
        assert condition["reason"] == "SyncFailed"
        assert condition["message"] == "jobs.batch does not implement the scale subresource"


async def test_an_eviction_that_never_came_is_taken_back() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns"}, "spec": {}, "status": {
        "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
                        "lastTransitionTime": clock.timestamp()}]}}  # fmt: skip
    async with running(DisruptionController, objects=(pod,)) as cluster:
        await cluster.settle(110)
        assert meta.is_true(cluster.get(PODS, "p"), "DisruptionTarget")
        await cluster.settle(10)
        condition = meta.condition(cluster.get(PODS, "p"), "DisruptionTarget")
        assert condition["status"] == "False" and "reason" not in condition


@given(st.integers(0, 20), st.integers(0, 20), st.one_of(st.integers(0, 25), st.integers(0, 120).map("{}%".format)))
def test_a_budget_never_allows_more_than_it_promises(replicas: int, ready: int, most: int | str) -> None:
    pod = {"spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    pods = [{"metadata": {"name": f"p{at}"}, **pod} for at in range(ready)]
    todo = plan(Inputs(make_budget(maxUnavailable=most), pods, {"u": replicas}, clock.now() + timedelta(seconds=1)))
    allowed, desired = todo.status["disruptionsAllowed"], todo.status["desiredHealthy"]
    assert 0 <= desired <= replicas
    assert allowed == 0 or ready - allowed >= desired


async def test_an_own_write_is_no_reason_to_look_again_and_one_of_others_is(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    reconcile = DisruptionController.reconcile

    async def counted(controller: DisruptionController, key: str) -> float | None:
        looked.append(key)
        return await reconcile(controller, key)

    monkeypatch.setattr(DisruptionController, "reconcile", counted)
    async with running(DisruptionController, objects=(make_budget(minAvailable=1),)) as cluster:
        assert status(cluster)["desiredHealthy"] == 1 and looked == ["ns/b"]
        changed = meta.copy(cluster.get(PODDISRUPTIONBUDGETS, "b"))
        changed["status"]["desiredHealthy"] = 7
        cluster.fake.put(changed)
        await cluster.settle()
        assert status(cluster)["desiredHealthy"] == 1 and looked == ["ns/b"] * 2
