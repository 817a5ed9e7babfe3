from tests.unit.controllers.cluster import Cluster, running, template
from wherry.api import meta
from wherry.api.resources import DAEMONSETS, NODES, PODS
from wherry.controllers.daemonset import DaemonSetController, node_of


def daemon_set(**spec: object) -> dict:
    return {
        "kind": "DaemonSet", "apiVersion": "apps/v1", "metadata": {"name": "d", "namespace": "ns", "uid": "u1"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(),
                 "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
                 **spec},
    }  # fmt: skip


def node(name: str, *taints: str, **labels: str) -> dict:
    entries = [dict(zip(("key", "effect"), taint.split(":"), strict=True)) for taint in taints]
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": entries},
    }


def placed(cluster: Cluster) -> list[str]:
    return sorted(node_of(pod) for pod in cluster.pods() if not meta.is_deleting(pod))


def image_on(cluster: Cluster) -> dict[str, str]:
    return {node_of(pod): pod["spec"]["containers"][0]["image"] for pod in cluster.pods()}


NODES_3 = (node("a"), node("b"), node("c", "x:NoSchedule"))


async def test_every_fitting_node_gets_one_pod_with_affinity_and_tolerations() -> None:
    async with running(DaemonSetController, objects=(daemon_set(), *NODES_3)) as cluster:
        assert placed(cluster) == ["a", "b"]
        pod = cluster.pods()[0]
        assert len(pod["spec"]["tolerations"]) == 6
        cluster.fake.put(node("d"))
        cluster.run_all()
        await cluster.settle()
        assert placed(cluster) == ["a", "b", "d"]
        assert cluster.get(DAEMONSETS, "d")["status"] == {
            "currentNumberScheduled": 3, "numberMisscheduled": 0, "desiredNumberScheduled": 3, "numberReady": 2,
            "observedGeneration": 1, "updatedNumberScheduled": 3, "numberAvailable": 2, "numberUnavailable": 1,
        }  # fmt: skip


async def test_a_node_that_no_longer_fits_loses_its_pod_unless_only_scheduling_is_refused() -> None:
    selective = daemon_set()
    selective["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    async with running(DaemonSetController, objects=(selective, node("a", disk="ssd"), node("b"))) as cluster:
        assert placed(cluster) == ["a"]
        cluster.fake.put(node("a", "x:NoSchedule", disk="ssd"))
        await cluster.settle()
        assert placed(cluster) == ["a"]
        assert cluster.get(DAEMONSETS, "d")["status"]["numberMisscheduled"] == 1
        cluster.fake.put(node("a", disk="hdd"))
        await cluster.settle()
        assert placed(cluster) == []


async def test_a_rolling_update_takes_one_node_at_a_time() -> None:
    async with running(DaemonSetController, objects=(daemon_set(), node("a"), node("b"), node("c"))) as cluster:
        cluster.run_all()
        await cluster.settle()
        found = cluster.get(DAEMONSETS, "d")
        found["spec"]["template"] = template(image="new")
        cluster.fake.put(found)
        for done in range(1, 4):
            await cluster.settle()
            assert list(image_on(cluster).values()).count("new") == done
            cluster.run_all()
        await cluster.settle()
        assert cluster.get(DAEMONSETS, "d")["status"]["updatedNumberScheduled"] == 3


async def test_a_surge_starts_the_new_pod_before_the_old_one_goes() -> None:
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    async with running(
        DaemonSetController, objects=(daemon_set(updateStrategy=surge), node("a"), node("b"))
    ) as cluster:
        cluster.run_all()
        await cluster.settle()
        found = cluster.get(DAEMONSETS, "d")
        found["spec"]["template"] = template(image="new")
        cluster.fake.put(found)
        await cluster.settle()
        assert len(cluster.pods()) == 3
        cluster.auto_ready = True
        await cluster.settle(20)
        assert image_on(cluster) == {"a": "new", "b": "new"} and len(cluster.pods()) == 2


async def test_a_failed_pod_is_replaced_with_growing_delay() -> None:
    async with running(DaemonSetController, objects=(daemon_set(), node("a"))) as cluster:
        for _ in range(6):
            for pod in cluster.pods():
                cluster.set_phase(pod, "Failed")
            await cluster.settle(2)
        events = [event for event in await cluster.events() if event.startswith("FailedDaemonPod")]
        assert 2 <= len(events) <= 4


async def test_unscheduled_pods_of_a_node_that_is_gone_are_deleted() -> None:
    async with running(DaemonSetController, objects=(daemon_set(), node("a"))) as cluster:
        cluster.fake.remove(NODES, "a")
        await cluster.settle()
        assert cluster.fake.list(PODS) == []
