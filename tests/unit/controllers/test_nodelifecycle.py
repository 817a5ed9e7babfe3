from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import NODES, PODS
from wherry.controllers.nodehealth import ZoneState, eviction_rate, zone_state
from wherry.controllers.nodelifecycle import NodeLifecycleController
from wherry.controllers.nodetaints import NOT_READY, UNREACHABLE, no_schedule
from wherry.controllers.tainteviction import TaintEvictionController, may_stay
from wherry.util import clock

BOTH = (NodeLifecycleController, TaintEvictionController)


def make_node(name: str = "n1", ready: str = "True", **spec: object) -> Object:
    conditions = [
        {"type": "Ready", "status": ready, "lastHeartbeatTime": clock.timestamp(), "lastTransitionTime": "x"},
        {"type": "MemoryPressure", "status": "False"},
    ]
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec,
            "status": {"conditions": conditions}}  # fmt: skip


def make_pod(name: str, node: str = "n1", **spec: object) -> Object:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "x"}]}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "ns"},
            "spec": {"nodeName": node, **spec}, "status": status}  # fmt: skip


def taints(cluster: Cluster, name: str = "n1") -> set[tuple[str, str]]:
    found = cluster.get(NODES, name, None)["spec"].get("taints") or ()
    return {(taint["key"].removeprefix("node.kubernetes.io/"), taint["effect"]) for taint in found}


async def test_the_not_ready_taint_goes_as_soon_as_the_node_is_ready() -> None:
    taint = {"key": NOT_READY, "effect": "NoSchedule"}
    own = {"key": "mine", "effect": "NoSchedule"}
    async with running(*BOTH, objects=(make_node(ready="False", taints=[taint, own]),)) as cluster:
        assert taints(cluster) == {("not-ready", "NoSchedule"), ("mine", "NoSchedule")}
        cluster.fake.put(make_node(taints=[taint, own]))
        await cluster.settle(0.01)
        assert taints(cluster) == {("mine", "NoSchedule")}
        assert "RegisteredNode: Node n1 event: Registered Node n1 in Controller" in await cluster.events()


async def test_conditions_and_cordons_become_taints() -> None:
    async with running(*BOTH, objects=(make_node(unschedulable=True),)) as cluster:
        assert taints(cluster) == {("unschedulable", "NoSchedule")}
        node = cluster.get(NODES, "n1", None)
        node["status"]["conditions"][1]["status"] = "True"
        del node["spec"]["unschedulable"]
        cluster.fake.put(node)
        await cluster.settle(0.01)
        assert taints(cluster) == {("memory-pressure", "NoSchedule")}


async def test_a_silent_node_is_unknown_after_the_grace_period_and_its_pods_are_not_ready() -> None:
    async with running(*BOTH, objects=(make_node(), make_node("n2"), make_pod("p"))) as cluster:
        for beat in range(8):
            assert meta.is_true(cluster.get(NODES, "n1", None), "Ready") == (beat < 6)
            await cluster.settle(10)
            cluster.fake.put({**make_node("n2"), "spec": cluster.get(NODES, "n2", None)["spec"]})
        ready = meta.condition(cluster.get(NODES, "n1", None), "Ready")
        assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
        assert ready["message"] == "Kubelet stopped posting node status."
        pressure = meta.condition(cluster.get(NODES, "n1", None), "DiskPressure")
        assert pressure["reason"] == "NodeStatusNeverUpdated"
        assert not meta.is_true(cluster.get(PODS, "p"), "Ready")
        assert taints(cluster) == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
        found = await cluster.events()
        assert "NodeNotReady: Node n1 status is now: NodeNotReady" in found
        assert "NodeNotReady: Node is not ready" in found
        assert "TaintManagerEviction: Marking for deletion Pod ns/p" in found
        cluster.fake.put({**cluster.get(NODES, "n1", None), "status": make_node()["status"]})
        await cluster.settle(1)
        assert taints(cluster) == set()


async def test_a_renewed_lease_is_a_sign_of_life() -> None:
    async with running(*BOTH, objects=(make_node(),)) as cluster:
        for _ in range(20):
            lease = {
                "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": "n1", "namespace": "kube-node-lease"},
                "spec": {"renewTime": clock.micro_timestamp()},
            }  # fmt: skip
            cluster.fake.put(lease)
            await cluster.settle(10)
        assert meta.is_true(cluster.get(NODES, "n1", None), "Ready")


async def test_nothing_is_evicted_when_no_node_is_ready() -> None:
    async with running(*BOTH, objects=(make_node(), make_pod("p"))) as cluster:
        await cluster.settle(1000)
        assert taints(cluster) == {("unreachable", "NoSchedule")}
        assert len(cluster.pods()) == 1


async def test_one_lost_node_of_a_zone_is_evicted_every_ten_seconds() -> None:
    lost = [make_node(f"lost{i}", ready="False") for i in range(2)]
    async with running(*BOTH, objects=(make_node(), *lost)) as cluster:
        assert sum(("not-ready", "NoExecute") in taints(cluster, f"lost{i}") for i in range(2)) == 1
        await cluster.settle(11)
        assert sum(("not-ready", "NoExecute") in taints(cluster, f"lost{i}") for i in range(2)) == 2


async def test_a_pod_stays_for_the_least_of_its_tolerations_and_says_why_it_goes() -> None:
    patient = [{"key": "k", "operator": "Exists", "tolerationSeconds": 30}]
    for_ever = [{"operator": "Exists"}]
    objects = (make_node(), make_pod("a"), make_pod("b", tolerations=patient), make_pod("c", tolerations=for_ever))
    async with running(TaintEvictionController, objects=objects) as cluster:
        cluster.fake.put({**make_node(), "spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})
        await cluster.settle(1)
        gone = cluster.get(PODS, "a")
        assert meta.is_deleting(gone)
        condition = meta.condition(gone, "DisruptionTarget")
        assert (condition["reason"], condition["message"]) == (
            "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint",
        )  # fmt: skip
        await cluster.settle(28)
        assert not meta.is_deleting(cluster.get(PODS, "b"))
        await cluster.settle(2)
        assert meta.is_deleting(cluster.get(PODS, "b"))
        assert not meta.is_deleting(cluster.get(PODS, "c"))


async def test_a_taint_that_goes_in_time_evicts_nobody() -> None:
    patient = [{"key": "k", "operator": "Exists", "tolerationSeconds": 30}]
    tainted = {**make_node(), "spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}
    async with running(TaintEvictionController, objects=(tainted, make_pod("b", tolerations=patient))) as cluster:
        cluster.fake.put(make_node())
        await cluster.settle(100)
        assert not meta.is_deleting(cluster.get(PODS, "b"))
        assert "TaintManagerEviction: Cancelling deletion of Pod ns/b" in await cluster.events()


def test_the_least_toleration_holds() -> None:
    taint = {"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "NoExecute"}
    both = [{"key": "a", "operator": "Exists", "tolerationSeconds": 9}, {"key": "b", "operator": "Exists"}]
    assert may_stay(taint, both) == 9
    assert may_stay(taint, both[1:]) == 0
    assert may_stay(taint[1:], both) is None


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_zone_is_evicted_slowly_only_when_most_of_it_is_lost(ready: int, lost: int) -> None:
    nodes = [make_node() for _ in range(ready)] + [make_node(ready="Unknown") for _ in range(lost)]
    partial = zone_state(nodes) is ZoneState.PARTIAL
    assert partial == (lost > 2 and ready > 0 and lost / (lost + ready) >= 0.55)
    assert eviction_rate(nodes) == ((0.01 if len(nodes) > 50 else 0) if partial else 0.1)


def test_taints_that_are_right_are_left_as_they_are() -> None:
    node = make_node(ready="Unknown", taints=[{"key": UNREACHABLE, "effect": "NoSchedule", "timeAdded": "then"}])
    assert no_schedule(node, now="now") == node["spec"]["taints"]
