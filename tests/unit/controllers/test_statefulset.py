from tests.unit.controllers.cluster import Cluster, running, template
from wherry.api import errors, meta
from wherry.api.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from wherry.controllers.statefulset import StatefulSetController


def stateful_set(replicas: int = 3, **spec: object) -> dict:
    return {
        "kind": "StatefulSet", "apiVersion": "apps/v1", "metadata": {"name": "web", "namespace": "ns", "uid": "u1"},
        "spec": {"replicas": replicas, "serviceName": "svc", "selector": {"matchLabels": {"app": "web"}},
                 "template": template(), "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 1,
                 "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, **spec},
    }  # fmt: skip


def change(cluster: Cluster, **spec: object) -> None:
    found = cluster.get(STATEFULSETS, "web")
    found["spec"].update(spec)
    cluster.fake.put(found)


def images(cluster: Cluster) -> dict[str, str]:
    return {meta.name(pod): pod["spec"]["containers"][0]["image"] for pod in cluster.pods()}


async def test_pods_come_up_one_after_the_other_with_identity_and_claims() -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    async with running(StatefulSetController, objects=(stateful_set(volumeClaimTemplates=claims),)) as cluster:
        for number in range(3):
            assert [meta.name(pod) for pod in cluster.pods()] == [f"web-{n}" for n in range(number + 1)]
            cluster.run_all()
            await cluster.settle()
        pod = cluster.get(PODS, "web-2")
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-2", "svc")
        assert pod["spec"]["volumes"] == [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-2"}},
        ]  # fmt: skip
        status = cluster.get(STATEFULSETS, "web")["status"]
        assert meta.labels(pod) == {
            "app": "web", "statefulset.kubernetes.io/pod-name": "web-2", "apps.kubernetes.io/pod-index": "2",
            "controller-revision-hash": status["updateRevision"],
        }  # fmt: skip
        assert status["currentRevision"] == status["updateRevision"]
        assert status["readyReplicas"] == status["currentReplicas"] == status["availableReplicas"] == 3
        assert len(cluster.fake.list(PERSISTENTVOLUMECLAIMS)) == 3


async def test_scaling_down_goes_from_the_highest_and_stops_at_an_unhealthy_pod() -> None:
    async with running(StatefulSetController, objects=(stateful_set(),)) as cluster:
        cluster.auto_ready = True
        await cluster.settle(10)
        cluster.set_phase(cluster.get(PODS, "web-0"), "Running", ready=False)
        change(cluster, replicas=1)
        await cluster.settle()
        assert sorted(images(cluster)) == ["web-0", "web-1", "web-2"]
        cluster.set_phase(cluster.get(PODS, "web-0"), "Running")
        await cluster.settle()
        assert sorted(images(cluster)) == ["web-0"]


async def test_a_rolling_update_goes_down_to_the_partition() -> None:
    async with running(StatefulSetController, objects=(stateful_set(),)) as cluster:
        cluster.auto_ready = True
        await cluster.settle(10)
        change(
            cluster,
            template=template(image="b"),
            updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
        )
        await cluster.settle(10)
        assert images(cluster) == {"web-0": "a", "web-1": "a", "web-2": "b"}
        status = cluster.get(STATEFULSETS, "web")["status"]
        assert status["currentRevision"] != status["updateRevision"]
        assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 1)
        await cluster.client.delete(PODS, "web-0", "ns")
        await cluster.settle(10)
        assert images(cluster)["web-0"] == "a"
        change(cluster, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        await cluster.settle(20)
        assert set(images(cluster).values()) == {"b"}
        status = cluster.get(STATEFULSETS, "web")["status"]
        assert status["currentRevision"] == status["updateRevision"]


async def test_a_failed_pod_is_replaced_under_its_name() -> None:
    async with running(StatefulSetController, objects=(stateful_set(1),)) as cluster:
        before = cluster.get(PODS, "web-0")
        cluster.set_phase(before, "Failed")
        await cluster.settle()
        assert meta.uid(cluster.get(PODS, "web-0")) != meta.uid(before)


async def test_the_status_tells_of_the_pods_there_are_while_one_is_refused() -> None:
    async with running(StatefulSetController, objects=(stateful_set(2),)) as cluster:
        cluster.fake.fail("create", PODS, errors.Forbidden("exceeded quota"), times=1000)
        cluster.run_all()
        await cluster.settle(10)
        status = cluster.get(STATEFULSETS, "web")["status"]
        assert status["replicas"] == status["readyReplicas"] == status["updatedReplicas"] == 1
        assert "exceeded quota" in " ".join(await cluster.events())


async def test_parallel_pods_come_and_go_together() -> None:
    async with running(StatefulSetController, objects=(stateful_set(4, podManagementPolicy="Parallel"),)) as cluster:
        assert len(cluster.pods()) == 4
        change(cluster, replicas=0)
        await cluster.settle()
        assert cluster.pods() == []


async def test_old_revisions_are_truncated_and_an_old_template_gets_its_revision_back() -> None:
    async with running(StatefulSetController, objects=(stateful_set(1),)) as cluster:
        cluster.auto_ready = True
        for image in "bcda":
            await cluster.settle(10)
            change(cluster, template=template(image=image))
        await cluster.settle(10)
        assert len(cluster.fake.list(CONTROLLERREVISIONS)) <= 2
        change(cluster, template=template(image="d"))
        await cluster.settle(10)
        update = cluster.get(STATEFULSETS, "web")["status"]["updateRevision"]
        top = max(cluster.fake.list(CONTROLLERREVISIONS), key=lambda revision: revision["revision"])
        assert meta.name(top) == update


async def test_claims_follow_the_retention_policy() -> None:
    spec = {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"}}  # fmt: skip
    async with running(StatefulSetController, objects=(stateful_set(1, **spec),)) as cluster:
        [ref] = cluster.get(PERSISTENTVOLUMECLAIMS, "d-web-0")["metadata"]["ownerReferences"]
        assert ref == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u1"}
