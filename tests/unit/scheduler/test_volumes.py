from typing import Any

from tests.unit.scheduler.world import World, node, pod, simulate
from wherry.api.resources import CSINODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES

BOUND = {"pv.kubernetes.io/bind-completed": "yes"}


def _with_claim(name: str, claim: str = "data") -> dict[str, Any]:
    return pod(name, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": claim}}])


def _claim(name: str = "data", *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "ns", "annotations": annotations or {}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "late",
            **spec,
        },
        "status": {"phase": "Bound" if annotations else "Pending"},
    }


def _volume(name: str, *, on: str = "", size: str = "1Gi", **spec: Any) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [on]}]}]
    affinity = {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}} if on else {}
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "late",
            **affinity, **spec,
        },
        "status": {"phase": "Available"},
    }  # fmt: skip


def _class(mode: str = "WaitForFirstConsumer", provisioner: str = "kubernetes.io/no-provisioner") -> dict[str, Any]:
    return {"metadata": {"name": "late"}, "provisioner": provisioner, "volumeBindingMode": mode}


def _complete(world: World, claim: str, volume: str) -> None:
    """Do what the volume controller does."""
    found = world.api.get(PERSISTENTVOLUMECLAIMS, f"ns/{claim}")
    assert found is not None
    annotations = {**found["metadata"].get("annotations", {}), **BOUND}
    metadata = {**found["metadata"], "annotations": annotations}
    world.api.put(
        {**found, "metadata": metadata, "spec": {**found["spec"], "volumeName": volume}}, PERSISTENTVOLUMECLAIMS
    )


def test_a_missing_claim_and_an_unbound_immediate_one_are_named() -> None:
    async def check(world: World) -> None:
        world.api.put(_class("Immediate"), STORAGECLASSES)
        world.create(node("a"), _with_claim("p"))
        await world.settle()
        message = '0/1 nodes are available: persistentvolumeclaim "data" not found. '
        assert world.condition("p")["message"].startswith(message)
        world.api.put(_claim(), PERSISTENTVOLUMECLAIMS)
        await world.settle(2)
        message = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. "
        assert world.condition("p")["message"].startswith(message)
        world.api.put(_volume("pv"), PERSISTENTVOLUMES)
        _complete(world, "data", "pv")
        await world.settle(4)
        assert world.node_of("p") == "a"

    simulate(check)


def test_a_bound_local_volume_decides_the_node() -> None:
    async def check(world: World) -> None:
        world.api.put(_volume("pv", on="b"), PERSISTENTVOLUMES)
        world.api.put(_claim(annotations=BOUND, volumeName="pv"), PERSISTENTVOLUMECLAIMS)
        world.create(node("a"), node("b"), _with_claim("p"))
        await world.settle()
        assert world.node_of("p") == "b"

    simulate(check)


def test_a_waiting_claim_gets_the_smallest_volume_that_suffices_before_the_pod_is_bound() -> None:
    async def check(world: World) -> None:
        world.api.put(_class(), STORAGECLASSES)
        for name, on, size in (("big", "b", "9Gi"), ("right", "b", "2Gi"), ("small", "a", "1Mi")):
            world.api.put(_volume(name, on=on, size=size), PERSISTENTVOLUMES)
        world.api.put(_claim(), PERSISTENTVOLUMECLAIMS)
        world.create(node("a"), node("b"), _with_claim("p"))
        await world.settle()
        chosen = world.api.get(PERSISTENTVOLUMES, "right")
        assert chosen is not None and chosen["spec"]["claimRef"]["name"] == "data"
        assert world.node_of("p") is None
        _complete(world, "data", "right")
        await world.settle()
        assert world.node_of("p") == "b"

    simulate(check)


def test_a_class_that_provisions_is_told_the_node_and_a_retreat_tries_again() -> None:
    async def check(world: World) -> None:
        world.api.put(_class(provisioner="example.com/csi"), STORAGECLASSES)
        world.api.put(_claim(), PERSISTENTVOLUMECLAIMS)
        world.create(node("a"), _with_claim("p"))
        await world.settle()
        claim = world.api.get(PERSISTENTVOLUMECLAIMS, "ns/data")
        assert claim is not None
        assert claim["metadata"]["annotations"] == {"volume.kubernetes.io/selected-node": "a"}
        world.api.put({**claim, "metadata": {**claim["metadata"], "annotations": {}}}, PERSISTENTVOLUMECLAIMS)
        await world.settle()
        assert "provisioning failed" in world.condition("p")["message"]
        await world.settle(3)
        world.api.put(_volume("pv"), PERSISTENTVOLUMES)
        _complete(world, "data", "pv")
        await world.settle(3)
        assert world.node_of("p") == "a"

    simulate(check)


def test_a_claim_for_one_pod_is_not_used_by_a_second() -> None:
    async def check(world: World) -> None:
        world.api.put(_volume("pv"), PERSISTENTVOLUMES)
        claim = _claim(annotations=BOUND, volumeName="pv", accessModes=["ReadWriteOncePod"])
        world.api.put(claim, PERSISTENTVOLUMECLAIMS)
        world.create(node("a"), _with_claim("first"))
        await world.settle()
        world.create(_with_claim("second"))
        await world.settle()
        assert (world.node_of("first"), world.node_of("second")) == ("a", None)
        assert "ReadWriteOncePod access mode" in world.condition("second")["message"]

    simulate(check)


def test_a_node_takes_no_more_volumes_than_its_driver_allows_and_only_of_its_zone() -> None:
    async def check(world: World) -> None:
        for name in ("one", "two"):
            csi = {"driver": "example.com/csi", "volumeHandle": name}
            world.api.put(_volume(name, csi=csi), PERSISTENTVOLUMES)
            world.api.put(_claim(name, annotations=BOUND, volumeName=name), PERSISTENTVOLUMECLAIMS)
        elsewhere = _volume("three")
        elsewhere["metadata"]["labels"] = {"topology.kubernetes.io/zone": "z2"}
        world.api.put(elsewhere, PERSISTENTVOLUMES)
        world.api.put(_claim("three", annotations=BOUND, volumeName="three"), PERSISTENTVOLUMECLAIMS)
        driver = {"name": "example.com/csi", "nodeID": "a", "allocatable": {"count": 1}}
        world.api.put({"metadata": {"name": "a"}, "spec": {"drivers": [driver]}}, CSINODES)
        world.create(node("a", labels={"topology.kubernetes.io/zone": "z1"}), _with_claim("p1", "one"))
        await world.settle()
        world.create(_with_claim("p2", "two"), _with_claim("p3", "three"))
        await world.settle()
        assert world.node_of("p1") == "a"
        assert "1 node(s) exceed max volume count." in world.condition("p2")["message"]
        assert "1 node(s) had no available volume zone." in world.condition("p3")["message"]

    simulate(check)
