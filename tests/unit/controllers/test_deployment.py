from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running, template
from wherry.api import meta
from wherry.api.resources import DEPLOYMENTS, PODS, REPLICASETS
from wherry.controllers.deployment import Create, Delete, DeploymentController, Inputs, Update, plan
from wherry.controllers.replicaset import ReplicaSetController
from wherry.controllers.rollout import REVISION, fenceposts, replicas_of
from wherry.util import clock


def deployment(replicas: int = 3, **spec: object) -> dict:
    return {
        "kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d", "namespace": "ns", "uid": "u1"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(),
            "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            **spec,
        },
    }  # fmt: skip


def change(cluster: Cluster, **spec: object) -> None:
    found = cluster.get(DEPLOYMENTS, "d")
    found["spec"].update(spec)
    cluster.fake.put(found)


def sizes(cluster: Cluster) -> dict[str, int]:
    return {
        rs["spec"]["template"]["spec"]["containers"][0]["image"]: rs["spec"]["replicas"]
        for rs in cluster.fake.list(REPLICASETS)
    }


KINDS = (DeploymentController, ReplicaSetController)


async def test_a_deployment_makes_one_replica_set_and_completes() -> None:
    async with running(*KINDS, objects=(deployment(),)) as cluster:
        cluster.auto_ready = True
        await cluster.settle(10)
        [rs] = cluster.fake.list(REPLICASETS)
        label = rs["metadata"]["labels"]["pod-template-hash"]
        assert rs["metadata"]["name"] == f"d-{label}" and label.isalnum()
        assert rs["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": label}
        assert rs["metadata"]["annotations"] == {
            "deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/max-replicas": "4",
            "deployment.kubernetes.io/revision": "1",
        }  # fmt: skip
        found = cluster.get(DEPLOYMENTS, "d")
        assert meta.annotations(found)[REVISION] == "1"
        status = found["status"]
        assert status["readyReplicas"] == status["updatedReplicas"] == status["availableReplicas"] == 3
        reasons = {
            entry["type"]: (entry["status"], entry["reason"], entry["message"]) for entry in status["conditions"]
        }
        assert reasons == {
            "Available": ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
            "Progressing": ("True", "NewReplicaSetAvailable", f'ReplicaSet "d-{label}" has successfully progressed.'),
        }
        assert f"ScalingReplicaSet: Scaled up replica set d-{label} from 0 to 3" in await cluster.events()


async def test_a_rolling_update_keeps_within_its_fenceposts() -> None:
    async with running(*KINDS, objects=(deployment(8),)) as cluster:
        cluster.auto_ready = True
        await cluster.settle(10)
        change(cluster, template=template(image="b"))
        for _ in range(600):
            await cluster.settle(0.05)
            active = [pod for pod in cluster.pods() if not meta.is_deleting(pod)]
            assert len(active) <= 10
            assert sum(meta.is_true(pod, "Ready") for pod in active) >= 6
        assert sizes(cluster) == {"a": 0, "b": 8}
        assert cluster.get(DEPLOYMENTS, "d")["status"]["updatedReplicas"] == 8


async def test_undo_finds_the_old_replica_set_and_moves_its_revision_on() -> None:
    async with running(*KINDS, objects=(deployment(2),)) as cluster:
        cluster.auto_ready = True
        await cluster.settle(10)
        for image in "bca":
            change(cluster, template=template(image=image))
            await cluster.settle(30)
        revisions = {
            rs["spec"]["template"]["spec"]["containers"][0]["image"]: meta.annotations(rs)[REVISION]
            for rs in cluster.fake.list(REPLICASETS)
        }
        assert revisions == {"a": "4", "b": "2", "c": "3"}
        assert meta.annotations(cluster.get(DEPLOYMENTS, "d"))[REVISION] == "4"
        first = next(rs for rs in cluster.fake.list(REPLICASETS) if replicas_of(rs))
        assert meta.annotations(first)["deployment.kubernetes.io/revision-history"] == "1"


async def test_history_beyond_the_limit_is_deleted() -> None:
    async with running(*KINDS, objects=(deployment(1, revisionHistoryLimit=2),)) as cluster:
        cluster.auto_ready = True
        for image in "bcdef":
            await cluster.settle(30)
            change(cluster, template=template(image=image))
        await cluster.settle(30)
        assert sorted(sizes(cluster)) == ["d", "e", "f"]


async def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    async with running(*KINDS, objects=(deployment(2, strategy={"type": "Recreate"}),)) as cluster:
        await cluster.settle(5)
        for pod in cluster.pods():
            pod["spec"]["nodeName"] = "n1"
            cluster.set_phase(pod, "Running")
        change(cluster, template=template(image="b"))
        await cluster.settle(30)
        assert sizes(cluster) == {"a": 0}
        first, second = cluster.pods()
        cluster.fake.remove(PODS, meta.key_of(first))
        await cluster.settle(30)
        assert sizes(cluster) == {"a": 0}
        cluster.fake.remove(PODS, meta.key_of(second))
        await cluster.settle(30)
        assert sizes(cluster) == {"a": 0, "b": 2}


async def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    async with running(*KINDS, objects=(deployment(2),)) as cluster:
        cluster.auto_ready = True
        await cluster.settle(10)
        change(cluster, paused=True, template=template(image="b"), replicas=5)
        await cluster.settle(10)
        assert sizes(cluster) == {"a": 5}
        condition = meta.condition(cluster.get(DEPLOYMENTS, "d"), "Progressing")
        assert (condition["status"], condition["reason"]) == ("Unknown", "DeploymentPaused")
        change(cluster, paused=False)
        await cluster.settle(60)
        assert sizes(cluster) == {"a": 0, "b": 5}


async def test_scaling_in_mid_rollout_is_spread_in_proportion() -> None:
    async with running(*KINDS, objects=(deployment(10, strategy={"type": "RollingUpdate",
                       "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}),)) as cluster:  # fmt: skip
        await cluster.settle(5)
        cluster.run_all()
        await cluster.settle(5)
        change(cluster, template=template(image="b"))
        await cluster.settle(5)
        assert sizes(cluster) == {"a": 8, "b": 5}
        change(cluster, replicas=30)
        await cluster.settle(5)
        assert sizes(cluster) == {"a": 20, "b": 13}


async def test_a_rollout_that_makes_no_progress_times_out() -> None:
    async with running(*KINDS, objects=(deployment(1, progressDeadlineSeconds=60),)) as cluster:
        await cluster.settle(50)
        assert meta.condition(cluster.get(DEPLOYMENTS, "d"), "Progressing")["reason"] == "ReplicaSetUpdated"
        await cluster.settle(30)
        condition = meta.condition(cluster.get(DEPLOYMENTS, "d"), "Progressing")
        assert (condition["status"], condition["reason"]) == ("False", "ProgressDeadlineExceeded")


async def test_a_hash_collision_leads_to_another_name() -> None:
    async with running(DeploymentController, objects=(deployment(1),)) as cluster:
        [rs] = cluster.fake.list(REPLICASETS)
        cluster.fake.remove(REPLICASETS, meta.key_of(rs))
        stranger = {**rs, "metadata": {"name": meta.name(rs), "namespace": "ns", "labels": {"x": "y"}}}
        cluster.fake.put(stranger)
        await cluster.settle(10)
        assert len(cluster.fake.list(REPLICASETS)) == 2
        assert cluster.get(DEPLOYMENTS, "d")["status"]["collisionCount"] == 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([0, 1, 3, "25%", "100%"]),
    st.sampled_from([0, 1, "25%", "100%"]),
    st.randoms(use_true_random=False),
)
def test_a_rollout_converges_and_never_breaks_its_fenceposts(
    before: int, after: int, surge: int | str, unavailable: int | str, random: object
) -> None:
    if surge == 0 and unavailable == 0:
        return
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    found = {**deployment(after, strategy=rolling, template=template(image="b")), "status": {}}
    found["metadata"]["generation"] = 1
    annotations = {"deployment.kubernetes.io/desired-replicas": str(after), REVISION: "1"}
    old = {
        "metadata": {
            "name": "old", "uid": "o", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations,
        },
        "spec": {"replicas": before, "template": template()},
        "status": {"replicas": before, "availableReplicas": before},
    }  # fmt: skip
    sets = {"old": old}
    max_surge, max_unavailable = fenceposts(found)
    for _ in range(200):
        todo = plan(Inputs(found, tuple(sets.values()), frozenset(), clock.now()))
        available_before = sum(rs["status"].get("availableReplicas", 0) for rs in sets.values())
        for action in todo.actions:
            rs = action.replica_set
            name = rs["metadata"]["name"]
            if isinstance(action, Delete):
                del sets[name]
                continue
            assert isinstance(action, Create | Update)
            md = {"creationTimestamp": "2026-01-02T00:00:00Z", "uid": name, **rs["metadata"]}
            have = min((rs.get("status") or {}).get("availableReplicas", 0), rs["spec"]["replicas"])
            sets[name] = {
                **rs,
                "metadata": md,
                "status": {"replicas": rs["spec"]["replicas"], "availableReplicas": have},
            }
        total = sum(rs["spec"]["replicas"] for rs in sets.values())
        available = sum(rs["status"].get("availableReplicas", 0) for rs in sets.values())
        assert total <= max(after + max_surge, before)
        assert available >= min(available_before, after - max_unavailable)
        found = {**found, "status": todo.status}
        for rs in sets.values():
            if random.random() < 0.6:
                rs["status"] = {**rs["status"], "availableReplicas": rs["spec"]["replicas"]}
        if not todo.actions and todo.status.get("availableReplicas", 0) == after == total:
            break
    else:
        raise AssertionError("does not converge")
