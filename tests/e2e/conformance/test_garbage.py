"""What owns what: deletion in the background, in the foreground and of orphans; namespaces and what is in them."""

from typing import Any

import pytest

from tests.e2e.conformance.api import Object, Refused
from tests.e2e.conformance.objects import pod_spec, template
from tests.e2e.conformance.world import World
from wherry.util import clock

pytestmark = pytest.mark.e2e
_SELECTOR = {"app": "x"}


def _rc(world: World, name: str, replicas: int, **more: Any) -> Object:
    body = {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": _SELECTOR, "template": template()}}
    made: Object = world.api.create(f"{world.core}/replicationcontrollers", body)
    _pods(world, replicas)
    return made


def _pods(world: World, count: int) -> list[Object]:
    found = world.api.wait(f"{world.core}/pods", lambda pods: len(pods["items"]) == count, what=f"{count} pods")
    items: list[Object] = found["items"]
    return items


def test_background_deletion_takes_the_pods_along(world: World) -> None:
    _rc(world, "rc", 2)
    world.api.delete(f"{world.core}/replicationcontrollers/rc", {"propagationPolicy": "Background"})
    world.api.gone(f"{world.core}/replicationcontrollers/rc", seconds=5)
    _pods(world, 0)


def test_orphans_stay(world: World) -> None:
    made = _rc(world, "rc", 3)
    path = f"{world.core}/replicationcontrollers/rc"
    options = {"propagationPolicy": "Orphan", "preconditions": {"uid": made["metadata"]["uid"]}}
    world.api.delete(path, options)
    world.api.gone(path)
    clock.block(1)
    assert all(not pod["metadata"].get("ownerReferences") for pod in _pods(world, 3))


def test_foreground_deletion_waits_for_the_pods(world: World) -> None:
    _rc(world, "rc", 3)
    path = f"{world.core}/replicationcontrollers/rc"
    version = world.api.get(path)["metadata"]["resourceVersion"]
    deleted = world.api.delete(path, {"propagationPolicy": "Foreground"})
    assert deleted["metadata"]["finalizers"] == ["foregroundDeletion"] and deleted["metadata"]["deletionTimestamp"]
    for type_, _ in world.api.watch(f"{world.core}/replicationcontrollers", resourceVersion=version, seconds=30):
        if type_ == "DELETED":
            assert _pods(world, 0) == []
            break
    world.api.gone(path)


def test_deployments_and_their_replica_sets(world: World) -> None:
    apps = world.apis("apps/v1")
    for name, policy in (("a", "Background"), ("b", "Orphan")):
        body = {
            "metadata": {"name": name},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": template()},
        }
        world.api.create(f"{apps}/deployments", body)
        sets = world.api.wait(f"{apps}/replicasets", lambda found: len(found["items"]) == 1)["items"]
        world.api.wait(f"{apps}/replicasets/{sets[0]['metadata']['name']}", lambda found: found["status"]["replicas"])
        world.api.delete(f"{apps}/deployments/{name}", {"propagationPolicy": policy})
        world.api.gone(f"{apps}/deployments/{name}")
        if policy == "Background":
            world.api.wait(f"{apps}/replicasets", lambda found: not found["items"])
        else:
            clock.block(1)
            left = world.api.get(f"{apps}/replicasets")["items"]
            assert [s["metadata"].get("ownerReferences") for s in left] == [None]


def test_a_dependent_with_another_valid_owner_stays(world: World) -> None:
    first = _rc(world, "first", 2)
    second = world.api.create(
        f"{world.core}/replicationcontrollers",
        {"metadata": {"name": "second"}, "spec": {"replicas": 0, "selector": {"app": "y"}, "template": _other()}},
    )
    kept = _pods(world, 2)[0]["metadata"]["name"]
    reference = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "name": "second",
        "uid": second["metadata"]["uid"],
    }
    patch = {"metadata": {"ownerReferences": [reference]}}
    world.api.patch(f"{world.core}/pods/{kept}", patch, "application/strategic-merge-patch+json")
    options = {"propagationPolicy": "Foreground", "preconditions": {"uid": first["metadata"]["uid"]}}
    world.api.delete(f"{world.core}/replicationcontrollers/first", options)
    world.api.gone(f"{world.core}/replicationcontrollers/first")
    left = _pods(world, 1)[0]["metadata"]
    assert left["name"] == kept and "deletionTimestamp" not in left
    assert [o["name"] for o in left["ownerReferences"]] == ["second"]


def _other() -> Object:
    return {"metadata": {"labels": {"app": "y"}}, "spec": pod_spec()}


def test_circles_of_owners_do_not_block(world: World) -> None:
    made = {name: world.pod(name) for name in ("pod1", "pod2", "pod3")}
    for name, owner in (("pod1", "pod3"), ("pod2", "pod1"), ("pod3", "pod2")):
        reference = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": owner,
            "uid": made[owner]["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        world.api.patch(f"{world.core}/pods/{name}", {"metadata": {"ownerReferences": [reference]}})
    world.api.delete(f"{world.core}/pods/pod1", {"propagationPolicy": "Foreground"})
    _pods(world, 0)


def _namespace(world: World, **meta: Any) -> str:
    made = world.api.create("/api/v1/namespaces", {"metadata": {"generateName": f"{world.ns}-", **meta}})
    return str(made["metadata"]["name"])


def test_a_namespace_goes_with_all_that_is_in_it(world: World) -> None:
    name = _namespace(world)
    inner = World(world.api, world.cluster, name)
    world.api.wait(f"{inner.core}/serviceaccounts/default", bool)
    inner.pod("p")
    inner.service("s", ports=[{"port": 80}])
    inner.ready("p")
    world.api.delete(f"/api/v1/namespaces/{name}")
    with pytest.raises(Refused) as new:
        inner.service("t", ports=[{"port": 80}])
    assert new.value.code == 403 and "being terminated" in str(new.value)
    world.api.gone(f"/api/v1/namespaces/{name}")
    world.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    assert not world.api.get(f"{inner.core}/pods")["items"] and not world.api.get(f"{inner.core}/services")["items"]
    world.api.delete(f"/api/v1/namespaces/{name}")


def test_pods_go_before_other_objects(world: World) -> None:
    name = _namespace(world)
    inner = World(world.api, world.cluster, name)
    world.api.wait(f"{inner.core}/serviceaccounts/default", bool)
    made = inner.pod("p")
    world.api.patch(f"{inner.core}/pods/p", {"metadata": {"finalizers": ["example.com/hold"]}})
    world.api.create(f"{inner.core}/configmaps", {"metadata": {"name": "c"}})
    world.api.delete(f"/api/v1/namespaces/{name}")

    def waits(found: Object) -> bool:
        kinds = {c["type"]: c for c in found["status"].get("conditions", [])}
        return kinds.get("NamespaceDeletionContentFailure", {}).get("status") == "False" and (
            kinds.get("NamespaceFinalizersRemaining", {}).get("status") == "True"
        )

    world.api.wait(f"/api/v1/namespaces/{name}", waits)
    assert world.api.get(f"{inner.core}/configmaps/c") and world.api.get(f"{inner.core}/pods/p")
    assert made["metadata"]["uid"]
    world.api.patch(f"{inner.core}/pods/p", {"metadata": {"finalizers": None}})
    world.api.gone(f"/api/v1/namespaces/{name}")


def test_a_namespaces_labels_status_and_finalizers(world: World) -> None:
    path = f"/api/v1/namespaces/{_namespace(world)}"
    assert world.api.patch(path, {"metadata": {"labels": {"a": "b"}}})["metadata"]["labels"]["a"] == "b"
    assert world.api.get(f"{path}/status")["status"]["phase"] == "Active"
    condition = {"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "m"}
    patched = world.api.patch(f"{path}/status", {"status": {"conditions": [condition]}})
    assert [c["type"] for c in patched["status"]["conditions"]] == ["StatusPatched"]
    found = world.api.get(path)
    found["spec"]["finalizers"].append("e2e.example.com/fakeFinalizer")
    assert len(world.api.update(f"{path}/finalize", found)["spec"]["finalizers"]) == 2
    found = world.api.get(path)
    found["spec"]["finalizers"] = ["kubernetes"]
    assert world.api.update(f"{path}/finalize", found)["spec"]["finalizers"] == ["kubernetes"]
    world.api.delete(path)
