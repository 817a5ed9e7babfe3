from tests.unit.controllers.cluster import running
from wherry.api import meta
from wherry.api.resources import NODES, PODS
from wherry.controllers.controller import Settings
from wherry.controllers.podgc import PodGCController
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
        await cluster.settle(20)
        assert [meta.name(found) for found in cluster.pods()] == ["p3", "p4"]
