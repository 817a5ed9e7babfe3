from tests.unit.controllers.cluster import Cluster, running
from wherry.api import meta
from wherry.api.resources import CONFIGMAPS, EVENTS, NODES, SECRETS
from wherry.controllers.garbagecollector import GarbageCollector


def owner_ref(name: str, *, kind: str = "ConfigMap", block: bool = True) -> dict:
    return {"apiVersion": "v1", "kind": kind, "name": name, "uid": f"u-{name}", "blockOwnerDeletion": block}


def thing(name: str, *owners: dict, kind: str = "ConfigMap", namespace: str | None = "ns") -> dict:
    metadata: dict = {"name": name, "uid": f"u-{name}"}
    if namespace:
        metadata["namespace"] = namespace
    if owners:
        metadata["ownerReferences"] = list(owners)
    return {"kind": kind, "apiVersion": "v1", "metadata": metadata}


def names(cluster: Cluster) -> list[str]:
    return [meta.name(obj) for obj in cluster.fake.list(CONFIGMAPS)]


async def test_a_chain_is_collected_in_the_background() -> None:
    objects = (thing("a"), thing("b", owner_ref("a")), thing("c", owner_ref("b")), thing("d"))
    async with running(GarbageCollector, objects=objects) as cluster:
        await cluster.client.delete(CONFIGMAPS, "a", "ns")
        await cluster.settle(0.5)
        assert names(cluster) == ["d"]


async def test_orphan_deletion_lets_the_dependents_stay_without_reference() -> None:
    objects = (thing("a"), thing("b", owner_ref("a"), owner_ref("k")), thing("k"))
    async with running(GarbageCollector, objects=objects) as cluster:
        await cluster.client.delete(CONFIGMAPS, "a", "ns", propagationPolicy="Orphan")
        await cluster.settle()
        assert names(cluster) == ["b", "k"]
        assert cluster.get(CONFIGMAPS, "b")["metadata"]["ownerReferences"] == [owner_ref("k")]


async def test_foreground_deletion_waits_for_blocking_dependents_only() -> None:
    held = thing("held", owner_ref("a"))
    held["metadata"]["finalizers"] = ["example.com/hold"]
    objects = (thing("a"), held, thing("free", owner_ref("a", block=False)))
    async with running(GarbageCollector, objects=objects) as cluster:
        await cluster.client.delete(CONFIGMAPS, "a", "ns", propagationPolicy="Foreground")
        await cluster.settle()
        assert names(cluster) == ["a", "held"]
        assert meta.is_deleting(cluster.get(CONFIGMAPS, "held"))
        cluster.fake.remove(CONFIGMAPS, "ns/held")
        await cluster.settle()
        assert names(cluster) == []


async def test_an_object_with_a_living_owner_only_loses_the_dangling_reference() -> None:
    objects = (thing("a"), thing("b"), thing("c", owner_ref("a"), owner_ref("b")))
    async with running(GarbageCollector, objects=objects) as cluster:
        await cluster.client.delete(CONFIGMAPS, "a", "ns")
        await cluster.settle()
        assert cluster.get(CONFIGMAPS, "c")["metadata"]["ownerReferences"] == [owner_ref("b")]


async def test_a_circle_does_not_block_foreground_deletion() -> None:
    objects = (thing("a", owner_ref("c")), thing("b", owner_ref("a")), thing("c", owner_ref("b")))
    async with running(GarbageCollector, objects=objects) as cluster:
        await cluster.client.delete(CONFIGMAPS, "a", "ns", propagationPolicy="Foreground")
        await cluster.settle(30)
        assert names(cluster) == []


async def test_an_owner_that_never_existed_counts_as_absent_and_one_of_another_uid_too() -> None:
    impostor = thing("x")
    objects = (impostor, thing("b", owner_ref("never")), thing("c", {**owner_ref("x"), "uid": "other"}))
    async with running(GarbageCollector, objects=objects) as cluster:
        await cluster.settle()
        assert names(cluster) == ["x"]


async def test_an_owner_in_another_namespace_is_absent() -> None:
    objects = (thing("a", namespace="other"), thing("b", owner_ref("a")))
    async with running(GarbageCollector, objects=objects) as cluster:
        cluster.fake.put({**thing("c", owner_ref("b")), "data": {}})
        await cluster.client.delete(CONFIGMAPS, "a", "other")
        await cluster.settle()
        assert names(cluster) == []


async def test_a_cluster_scoped_object_is_not_deleted_for_a_namespaced_owner() -> None:
    node = thing("n", owner_ref("a"), kind="Node", namespace=None)
    async with running(GarbageCollector, objects=(node,)) as cluster:
        await cluster.settle()
        assert cluster.get(NODES, "n", None)
        assert "OwnerRefInvalidNamespace" in {event["reason"] for event in cluster.fake.list(EVENTS)}


async def test_an_owner_of_an_unknown_kind_keeps_its_dependents() -> None:
    objects = (thing("b", {**owner_ref("x", kind="Boat"), "apiVersion": "x.io/v1"}),)
    async with running(GarbageCollector, objects=objects) as cluster:
        await cluster.settle(60)
        assert names(cluster) == ["b"]


async def test_custom_resources_are_collected_and_own() -> None:
    crd = {
        "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "boats.x.io"},
        "spec": {"group": "x.io", "scope": "Cluster", "names": {"plural": "boats", "kind": "Boat"},
                 "versions": [{"name": "v1", "served": True, "storage": True}]},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }  # fmt: skip
    async with running(GarbageCollector, objects=(crd,)) as cluster:
        [resource] = [r for r in cluster.manager.controllers[0]._catalog if r.kind == "Boat"]
        boat = {"kind": "Boat", "apiVersion": "x.io/v1", "metadata": {"name": "x", "uid": "u-x"}}
        cluster.fake.put(boat, resource)
        ref = {**owner_ref("x", kind="Boat"), "apiVersion": "x.io/v1"}
        cluster.fake.put(thing("s", ref, kind="Secret"))
        await cluster.settle()
        assert cluster.get(SECRETS, "s")
        await cluster.client.delete(resource, "x")
        await cluster.settle()
        assert cluster.fake.list(SECRETS) == []
