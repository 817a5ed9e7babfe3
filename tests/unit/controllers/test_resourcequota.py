from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running
from wherry.api import quota
from wherry.api.resources import PODS, RESOURCEQUOTAS, SERVICES
from wherry.controllers.resourcequota import ResourceQuotaController
from wherry.controllers.tally import Tally
from wherry.util import clock


def quota_of(hard: dict[str, str], **spec: object) -> dict:
    return {
        "kind": "ResourceQuota", "apiVersion": "v1", "metadata": {"name": "q", "namespace": "ns"},
        "spec": {"hard": hard, **spec},
    }  # fmt: skip


def pod(name: str, cpu: str = "", **spec: object) -> dict:
    resources = {"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"cpu": cpu}} if cpu else {}
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "ns"},
        "spec": {"containers": [{"name": "c", "resources": resources}], **spec},
    }  # fmt: skip


def used(cluster: Cluster) -> dict[str, str]:
    return cluster.get(RESOURCEQUOTAS, "q")["status"]["used"]


async def test_pods_count_while_they_live() -> None:
    hard = {"pods": "5", "requests.cpu": "1", "limits.cpu": "2", "memory": "1Gi", "count/pods": "9"}
    async with running(
        ResourceQuotaController, objects=(quota_of(hard), pod("a", "250m"), pod("b", "250m"))
    ) as cluster:
        wanted = {"pods": "2", "requests.cpu": "500m", "limits.cpu": "500m", "memory": "128Mi", "count/pods": "2"}
        assert used(cluster) == wanted
        assert cluster.get(RESOURCEQUOTAS, "q")["status"]["hard"] == hard
        cluster.set_phase(cluster.get(PODS, "a"), "Succeeded")
        await cluster.settle()
        assert used(cluster)["pods"] == "1" and used(cluster)["count/pods"] == "2"
        cluster.fake.remove(PODS, "ns/b")
        await cluster.settle()
        assert used(cluster)["pods"] == "0"


async def test_other_resources_are_counted_by_name() -> None:
    hard = {"count/deployments.apps": "2", "configmaps": "3", "requests.storage": "1Gi", "services.nodeports": "4",
            "gold.storageclass.storage.k8s.io/requests.storage": "1Gi"}  # fmt: skip
    deployment = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d", "namespace": "ns"}}
    service = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "ns"},
               "spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}  # fmt: skip
    claim = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "c", "namespace": "ns"},
             "spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "512Mi"}}}}  # fmt: skip
    async with running(ResourceQuotaController, objects=(quota_of(hard), deployment, service, claim)) as cluster:
        assert used(cluster) == {
            "count/deployments.apps": "1", "configmaps": "0", "requests.storage": "512Mi", "services.nodeports": "2",
            "gold.storageclass.storage.k8s.io/requests.storage": "512Mi",
        }  # fmt: skip


async def test_scopes_choose_the_pods() -> None:
    scoped = quota_of({"pods": "5"}, scopes=["NotBestEffort", "NotTerminating"])
    objects = (scoped, pod("a"), pod("b", "1"), pod("c", "1", activeDeadlineSeconds=3))
    async with running(ResourceQuotaController, objects=objects) as cluster:
        assert used(cluster) == {"pods": "1"}


def test_an_init_container_counts_only_for_what_it_needs_more() -> None:
    spec = {
        "containers": [{"resources": {"requests": {"cpu": "1"}}}],
        "initContainers": [
            {"resources": {"requests": {"cpu": "500m"}}, "restartPolicy": "Always"},
            {"resources": {"requests": {"cpu": "2"}}},
        ],
        "overhead": {"cpu": "250m"},
    }
    assert str(quota.pod_amounts(spec, "requests")["cpu"]) == "2750m"


@given(st.data())
def test_a_tally_kept_by_difference_is_that_of_all_counted_anew(data: st.DataObject) -> None:
    def tally() -> Tally:
        made = Tally(quota_of({}, scopes=["NotBestEffort"])["spec"])
        made.resources |= {PODS, SERVICES}
        return made

    kept, present = tally(), {}
    for _ in range(data.draw(st.integers(0, 12))):
        name = data.draw(st.sampled_from("abc"))
        if name in present and data.draw(st.booleans()):
            kept.drop(PODS, present.pop(name))
            continue
        found = pod(name, data.draw(st.sampled_from(["", "1", "250m"])))
        found["status"] = {"phase": data.draw(st.sampled_from(["Running", "Failed"]))}
        present[name] = found
        kept.put(PODS, found)
    anew = tally()
    for found in present.values():
        anew.put(PODS, found)
    assert kept.total() == anew.total()


async def test_a_pod_that_outlives_its_grace_is_charged_no_longer() -> None:
    lost = pod("a")
    lost["metadata"] |= {"deletionTimestamp": clock.timestamp(), "deletionGracePeriodSeconds": 30}
    async with running(ResourceQuotaController, objects=(quota_of({"pods": "5"}), lost)) as cluster:
        assert used(cluster)["pods"] == "1"
        await cluster.settle(32)
        assert used(cluster)["pods"] == "0"


async def test_a_charge_counts_until_its_object_can_be_seen_however_long_the_disk_takes() -> None:
    async with running(ResourceQuotaController, objects=(quota_of({"pods": "5"}), pod("a"))) as cluster:
        found = cluster.get(RESOURCEQUOTAS, "q")
        cluster.fake.put({**found, "status": {"hard": {"pods": "5"}, "used": {"pods": "2"}}})
        cluster.fake.remove(PODS, "ns/a")
        await cluster.settle(3)
        assert used(cluster)["pods"] == "1"
        cluster.fake.put(pod("b"))
        await cluster.settle(10)
        assert used(cluster)["pods"] == "1"


async def test_a_charge_whose_object_was_refused_is_taken_back() -> None:
    async with running(ResourceQuotaController, objects=(quota_of({"pods": "5"}), pod("a"))) as cluster:
        found = cluster.get(RESOURCEQUOTAS, "q")
        cluster.fake.put({**found, "status": {"hard": {"pods": "5"}, "used": {"pods": "2"}}})
        await cluster.settle(4)
        assert used(cluster)["pods"] == "2"
        await cluster.settle(2)
        assert used(cluster)["pods"] == "1"
