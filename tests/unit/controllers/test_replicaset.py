from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running, template
from wherry.api import errors, meta
from wherry.api.resources import PODS, REPLICASETS, REPLICATIONCONTROLLERS
from wherry.controllers import pods as podutil
from wherry.controllers.replicas import Inputs, plan
from wherry.controllers.replicaset import ReplicaSetController
from wherry.controllers.replicationcontroller import ReplicationControllerController
from wherry.util import clock


def replica_set(replicas: int = 3, **spec: object) -> dict:
    return {
        "kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": {"name": "rs", "namespace": "ns", "uid": "u1"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(), **spec},
    }  # fmt: skip


def scale(cluster: Cluster, replicas: int) -> None:
    rs = cluster.get(REPLICASETS, "rs")
    rs["spec"]["replicas"] = replicas
    cluster.fake.put(rs)


async def test_pods_are_made_from_the_template_and_counted() -> None:
    async with running(ReplicaSetController, objects=(replica_set(),)) as cluster:
        pods = cluster.pods()
        assert len(pods) == 3
        assert pods[0]["metadata"]["generateName"] == "rs-"
        assert meta.controller_of(pods[0]) == meta.controller_ref(cluster.get(REPLICASETS, "rs"))
        cluster.run_all()
        await cluster.settle()
        assert cluster.get(REPLICASETS, "rs")["status"] == {
            "replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "terminatingReplicas": 0, "observedGeneration": 1,
        }  # fmt: skip
        assert len(cluster.fake.written("create", PODS)) == 3
        assert f"SuccessfulCreate: Created pod: {pods[0]['metadata']['name']}" in await cluster.events()


async def test_scaling_down_deletes_the_pods_that_rank_first() -> None:
    async with running(ReplicaSetController, objects=(replica_set(4),)) as cluster:
        kept, cheap, young, pending = cluster.pods()
        for pod in (kept, cheap):
            cluster.set_phase(pod, "Running")
        await cluster.settle(1000)
        cluster.set_phase(young, "Running")
        cheap = cluster.get(PODS, meta.name(cheap))
        cheap["metadata"]["annotations"] = {podutil.DELETION_COST: "-5"}
        cluster.fake.put(cheap)
        for size, gone in ((3, pending), (2, cheap), (1, young)):
            scale(cluster, size)
            await cluster.settle()
            assert meta.name(gone) not in {meta.name(pod) for pod in cluster.pods()}
        assert [meta.name(pod) for pod in cluster.pods()] == [meta.name(kept)]


async def test_matching_orphans_are_adopted_and_pods_that_match_no_more_are_released() -> None:
    orphan = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "o", "namespace": "ns", "labels": {"app": "web"}},
              "spec": {}}  # fmt: skip
    async with running(ReplicaSetController, objects=(replica_set(1), orphan)) as cluster:
        [pod] = cluster.pods()
        assert meta.controller_of(pod)["uid"] == "u1"
        pod["metadata"]["labels"] = {"app": "other"}
        cluster.fake.put(pod)
        await cluster.settle()
        released = cluster.get(PODS, "o")
        assert meta.controller_of(released) is None
        assert len(cluster.pods()) == 2


async def test_a_late_orphan_is_adopted_and_the_excess_deleted() -> None:
    async with running(ReplicaSetController, objects=(replica_set(1),)) as cluster:
        cluster.run_all()
        cluster.fake.put({"kind": "Pod", "apiVersion": "v1", "spec": {},
                          "metadata": {"name": "o", "namespace": "ns", "labels": {"app": "web"}}})  # fmt: skip
        await cluster.settle()
        assert [meta.name(pod) for pod in cluster.pods()] != ["o"] and len(cluster.pods()) == 1


async def test_a_failing_create_is_reported_tried_in_small_batches_and_recovers() -> None:
    cluster_failure = errors.Forbidden("exceeded quota")
    async with running(ReplicaSetController) as cluster:
        cluster.fake.fail("create", PODS, cluster_failure, times=3)
        cluster.fake.put(replica_set(20))
        await cluster.settle(0.003)
        assert len(cluster.fake.written("create", PODS)) <= 2
        condition = meta.condition(cluster.get(REPLICASETS, "rs"), "ReplicaFailure")
        assert condition["reason"] == "FailedCreate" and condition["message"] == "exceeded quota"
        await cluster.settle()
        assert len(cluster.pods()) == 20
        assert meta.condition(cluster.get(REPLICASETS, "rs"), "ReplicaFailure") is None
        assert "FailedCreate: Error creating: exceeded quota" in await cluster.events()


async def test_a_pod_is_available_after_min_ready_seconds() -> None:
    async with running(ReplicaSetController, objects=(replica_set(1, minReadySeconds=30),)) as cluster:
        cluster.run_all()
        await cluster.settle(20)
        status = cluster.get(REPLICASETS, "rs")["status"]
        assert status["readyReplicas"] == 1 and "availableReplicas" not in status
        await cluster.settle(20)
        assert cluster.get(REPLICASETS, "rs")["status"]["availableReplicas"] == 1


async def test_nothing_is_created_twice_while_the_watch_is_behind() -> None:
    async with running(ReplicaSetController, objects=(replica_set(5),)) as cluster:
        for size in (8, 3, 9):
            scale(cluster, size)
            cluster.fake.drop_watches()
            await cluster.settle(0.01)
        await cluster.settle(120)
        assert len(cluster.pods()) == 9
        assert len(cluster.fake.written("create", PODS)) <= 5 + 3 + 6


async def test_a_replication_controller_selects_by_a_plain_map() -> None:
    rc = {
        "kind": "ReplicationController", "apiVersion": "v1", "metadata": {"name": "rc", "namespace": "ns"},
        "spec": {"replicas": 2, "selector": {"app": "web"}, "template": template()},
    }  # fmt: skip
    async with running(ReplicationControllerController, objects=(rc,)) as cluster:
        assert len(cluster.pods()) == 2
        status = cluster.get(REPLICATIONCONTROLLERS, "rc")["status"]
        assert status == {"replicas": 2, "fullyLabeledReplicas": 2, "observedGeneration": 1}


PODS_STRATEGY = st.lists(
    st.fixed_dictionaries({
        "node": st.sampled_from(["", "n1", "n2"]),
        "phase": st.sampled_from(["Pending", "Running", "Failed", "Succeeded"]),
        "deleting": st.booleans(),
        "ready": st.booleans(),
        "cost": st.sampled_from(["", "-1", "7", "x"]),
    }),
    max_size=12,
)  # fmt: skip


def make_pod(number: int, given_: dict) -> dict:
    md = {"name": f"p{number}", "namespace": "ns", "uid": f"{number:03}", "creationTimestamp": clock.timestamp(),
          "annotations": {podutil.DELETION_COST: given_["cost"]}}  # fmt: skip
    if given_["deleting"]:
        md["deletionTimestamp"] = clock.timestamp()
    ready = {"type": "Ready", "status": "True" if given_["ready"] else "False", "lastTransitionTime": clock.timestamp()}
    return {
        "metadata": md,
        "spec": {"nodeName": given_["node"]},
        "status": {"phase": given_["phase"], "conditions": [ready]},
    }


@given(PODS_STRATEGY, st.integers(0, 12))
def test_plan_always_reaches_the_wanted_number_and_never_deletes_ready_before_unready(found: list, want: int) -> None:
    pods = tuple(make_pod(number, given_) for number, given_ in enumerate(found))
    todo = plan(Inputs(replica_set(want), pods, {}, clock.now() + timedelta(seconds=5)))
    active = [pod for pod in pods if podutil.is_active(pod)]
    assert len(active) + todo.create - len(todo.delete) == want
    assert not (todo.create and todo.delete)
    assert all(podutil.is_active(pod) for pod in todo.delete)
    kept = [pod for pod in active if pod not in todo.delete]
    assigned = [pod for pod in todo.delete if pod["spec"]["nodeName"] and podutil.phase(pod) == "Running"]
    if any(podutil.is_ready(pod) for pod in assigned):
        running = [pod for pod in kept if pod["spec"]["nodeName"] and podutil.phase(pod) == "Running"]
        assert all(podutil.is_ready(pod) for pod in running)
