"""Pods go from nodes with NoExecute taints, whichever of node, taint and pod comes last."""

from tests.unit.controllers.cluster import running
from tests.unit.controllers.test_podgc import node, pod
from wherry.api import meta
from wherry.api.meta import Object
from wherry.controllers.tainteviction import TaintEvictionController

TAINT = {"key": "k", "effect": "NoExecute"}
PATIENT = {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}


def staying(pods: list[Object]) -> list[str]:
    return [meta.name(pod) for pod in pods if not meta.is_deleting(pod)]


async def test_a_pod_that_comes_to_a_tainted_node_goes() -> None:
    async with running(TaintEvictionController, objects=(node("n", "True", TAINT), node("m"))) as cluster:
        cluster.fake.put(pod("here"))
        cluster.fake.put(pod("there", bound="m"))
        await cluster.settle()
        assert staying(cluster.pods()) == ["there"]


async def test_pods_go_when_their_node_is_tainted_after_they_came() -> None:
    async with running(TaintEvictionController, objects=(node(), pod(), pod("patient", PATIENT))) as cluster:
        await cluster.settle()
        cluster.fake.put(node("n", "True", TAINT))
        await cluster.settle(10)
        assert staying(cluster.pods()) == ["patient"]
        await cluster.settle(30)
        assert staying(cluster.pods()) == []


async def test_a_pod_stays_when_the_taint_goes_before_its_patience() -> None:
    async with running(TaintEvictionController, objects=(node("n", "True", TAINT), pod("p", PATIENT))) as cluster:
        await cluster.settle(10)
        cluster.fake.put(node())
        await cluster.settle(60)
        assert staying(cluster.pods()) == ["p"]
