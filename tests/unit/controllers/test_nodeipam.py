from typing import Any

from tests.unit.controllers.cluster import Cluster, running
from wherry.api.resources import NODES
from wherry.controllers.controller import Settings
from wherry.controllers.nodeipam import NodeIpamController

SETTINGS = Settings(cluster_cidr="10.244.0.0/20", node_cidr_mask_size=22, node_cidrs={"own": "10.244.0.0/22"})


def node(name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec}


def range_of(cluster: Cluster, name: str) -> list[str]:
    spec = cluster.get(NODES, name, None)["spec"]
    assert (spec.get("podCIDRs") or [None])[0] == spec.get("podCIDR")
    return spec.get("podCIDRs") or []


async def test_nodes_get_ranges_that_do_not_overlap() -> None:
    held = node("held", podCIDR="10.244.4.0/24", podCIDRs=["10.244.4.0/24"])
    async with running(NodeIpamController, objects=(held, node("a"), node("own")), settings=SETTINGS) as cluster:
        assert range_of(cluster, "own") == ["10.244.0.0/22"]
        assert range_of(cluster, "a") == ["10.244.8.0/22"]
        assert range_of(cluster, "held") == ["10.244.4.0/24"]


async def test_a_node_without_a_range_is_told_and_gets_that_of_one_that_goes() -> None:
    objects = tuple(node(name) for name in ("a", "b", "c", "d"))
    async with running(NodeIpamController, objects=objects, settings=SETTINGS) as cluster:
        assert range_of(cluster, "d") == []
        assert "CIDRNotAvailable: Node d status is now: CIDRNotAvailable" in await cluster.events()
        free = range_of(cluster, "b")
        await cluster.client.delete(NODES, "b")
        await cluster.settle()
        assert range_of(cluster, "d") == free


async def test_without_a_cluster_range_nodes_are_left_alone() -> None:
    async with running(NodeIpamController, objects=(node("a"),)) as cluster:
        assert range_of(cluster, "a") == []
