from cluster import Cluster, running

from wherry.api import meta
from wherry.api.resources import LEASES, NODES, PODS
from wherry.controllers.controller import Settings
from wherry.controllers.nodelifecycle import NodeLifecycleController
from wherry.controllers.podgc import PodGCController
from wherry.controllers.tainteviction import TaintEvictionController
from wherry.util import clock


def node(name: str = "n", ready: str = "True", *taints: dict, **spec: object) -> dict:
    condition = {"type": "Ready", "status": ready, "lastHeartbeatTime": clock.timestamp()}
    return {
        "kind": "Node", "apiVersion": "v1", "metadata": {"name": name},
        "spec": {"taints": list(taints), **spec}, "status": {"conditions": [condition]},
    }  # fmt: skip


def pod(name: str = "p", *tolerations: dict, bound: str = "n") -> dict:
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "ns"},
        "spec": {"nodeName": bound, "tolerations": list(tolerations)},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip


def taints(cluster: Cluster) -> set[str]:
    found = cluster.get(NODES, "n", None)["spec"].get("taints") or ()
    return {f"{taint['key'].partition('/')[2] or taint['key']}:{taint['effect']}" for taint in found}


async def test_taints_follow_the_conditions_and_foreign_ones_stay() -> None:
    own = {"key": "mine", "effect": "NoSchedule"}
    not_ready = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    async with running(NodeLifecycleController, objects=(node("n", "True", own, not_ready),)) as cluster:
        assert taints(cluster) == {"mine:NoSchedule"}
        changed = cluster.get(NODES, "n", None)
        changed["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        changed["spec"]["unschedulable"] = True
        cluster.fake.put(changed)
        await cluster.settle()
        assert taints(cluster) == {
            "mine:NoSchedule", "not-ready:NoSchedule", "not-ready:NoExecute", "unschedulable:NoSchedule",
        }  # fmt: skip


async def test_a_silent_node_becomes_unknown_and_comes_back() -> None:
    lease = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
             "metadata": {"name": "n", "namespace": "kube-node-lease"}, "spec": {"renewTime": "1"}}  # fmt: skip
    async with running(NodeLifecycleController, objects=(node(), pod(), lease)) as cluster:
        for beat in range(5):
            await cluster.settle(30)
            cluster.fake.put({**cluster.get(LEASES, "n", "kube-node-lease"), "spec": {"renewTime": str(beat)}})
        assert taints(cluster) == set()
        await cluster.settle(55)
        ready = meta.condition(cluster.get(NODES, "n", None), "Ready")
        assert (ready["status"], ready["reason"], ready["message"]) == (
            "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.",
        )  # fmt: skip
        assert taints(cluster) == {"unreachable:NoSchedule", "unreachable:NoExecute"}
        assert not meta.is_true(cluster.get(PODS, "p"), "Ready")
        cluster.fake.put({**cluster.get(LEASES, "n", "kube-node-lease"), "spec": {"renewTime": "x"}})
        cluster.fake.put(node())
        await cluster.settle(20)
        assert taints(cluster) == set()


async def test_pods_go_from_a_tainted_node_when_their_toleration_ends() -> None:
    key = "node.kubernetes.io/not-ready"
    short = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    ever = {"operator": "Exists"}
    objects = (node(), pod("none"), pod("short", short), pod("ever", ever), pod("pending", bound=""))
    async with running(TaintEvictionController, objects=objects) as cluster:
        cluster.fake.put(node("n", "False", {"key": key, "effect": "NoExecute", "timeAdded": clock.timestamp()}))
        await cluster.settle()
        gone = {meta.name(found) for found in cluster.pods() if meta.is_deleting(found)}
        assert gone == {"none"}
        assert meta.is_true(cluster.get(PODS, "none"), "DisruptionTarget")
        await cluster.settle(60)
        gone = {meta.name(found) for found in cluster.pods() if meta.is_deleting(found)}
        assert gone == {"none", "short"}


async def test_a_taint_that_goes_in_time_cancels_the_eviction() -> None:
    key = "node.kubernetes.io/unreachable"
    short = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    tainted = node("n", "Unknown", {"key": key, "effect": "NoExecute", "timeAdded": clock.timestamp()})
    async with running(TaintEvictionController, objects=(pod("p", short),)) as cluster:
        tainted["spec"]["taints"][0]["timeAdded"] = clock.timestamp()
        cluster.fake.put(tainted)
        await cluster.settle(30)
        cluster.fake.put(node())
        await cluster.settle(100)
        assert not meta.is_deleting(cluster.get(PODS, "p"))


async def test_pods_of_a_node_that_is_gone_are_collected_after_a_quarantine() -> None:
    async with running(PodGCController, objects=(node(), pod())) as cluster:
        cluster.fake.remove(NODES, "n")
        await cluster.settle(35)
        assert cluster.get(PODS, "p")
        await cluster.settle(10)
        assert cluster.pods() == []


async def test_the_oldest_finished_pods_beyond_the_threshold_go() -> None:
    settings = Settings(terminated_pod_gc_threshold=2)
    async with running(PodGCController, objects=(node(),), settings=settings) as cluster:
        for number in range(5):
            finished = pod(f"p{number}")
            finished["status"]["phase"] = "Succeeded"
            cluster.fake.put(finished)
            await cluster.settle()
        assert [meta.name(found) for found in cluster.pods()] == ["p3", "p4"]
