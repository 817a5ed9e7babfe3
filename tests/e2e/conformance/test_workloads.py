"""Deployments, replica sets, stateful sets and daemon sets bring about what they say, and show it in their status."""

from functools import partial
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE, OTHER_IMAGE
from tests.e2e.conformance.api import STRATEGIC, Object
from tests.e2e.conformance.objects import pod_spec, template
from tests.e2e.conformance.world import World, eventually, is_ready

pytestmark = pytest.mark.e2e
_SELECTOR = {"matchLabels": {"app": "x"}}


def _image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


def _live(world: World, **labels: str) -> list[Object]:
    selector = ",".join(f"{k}={v}" for k, v in (labels or {"app": "x"}).items())
    pods: list[Object] = world.api.get(f"{world.core}/pods", labelSelector=selector)["items"]
    return [p for p in pods if "deletionTimestamp" not in p["metadata"]]


def _make(world: World, plural: str, name: str, **spec: Any) -> str:
    path = f"{world.apis('apps/v1')}/{plural}"
    body = {"selector": _SELECTOR, "template": template(), **spec}
    world.api.create(path, {"metadata": {"name": name, "labels": {"app": "x"}}, "spec": body})
    return f"{path}/{name}"


def _all_ready(world: World, path: str, count: int, *, seconds: float = 30) -> Object:
    def ready(found: Object) -> bool:
        status = found["status"]
        observed = status.get("observedGeneration") == found["metadata"]["generation"]
        updated = status.get("updatedReplicas", 0) == count or "replicasets" in path
        return observed and updated and status.get("readyReplicas", 0) == status.get("replicas", 0) == count

    found: Object = world.api.wait(path, ready, what=f"{path} with {count}", seconds=seconds)
    return found


@pytest.mark.parametrize("plural", ["deployments", "replicasets", "statefulsets"])
def test_the_scale_subresource(world: World, plural: str) -> None:
    path = _make(world, plural, "w", replicas=1, **({"serviceName": "none"} if plural == "statefulsets" else {}))
    _all_ready(world, path, 1)
    scale = world.api.get(f"{path}/scale")
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["replicas"]) == ("Scale", 1, 1)
    assert scale["status"]["selector"] == "app=x"
    scale["spec"]["replicas"] = 2
    assert world.api.update(f"{path}/scale", scale)["spec"]["replicas"] == 2
    assert world.api.get(path)["spec"]["replicas"] == 2
    _all_ready(world, path, 2)
    assert world.api.patch(f"{path}/scale", {"spec": {"replicas": 3}})["spec"]["replicas"] == 3
    assert world.api.get(path)["spec"]["replicas"] == 3


def test_scale_of_a_replication_controller(world: World) -> None:
    body = {"replicas": 1, "selector": {"app": "x"}, "template": template()}
    path = f"{world.core}/replicationcontrollers"
    world.api.create(path, {"metadata": {"name": "rc"}, "spec": body})
    world.api.wait(f"{path}/rc", lambda found: found["status"].get("readyReplicas") == 1)
    scale = world.api.get(f"{path}/rc/scale")
    scale["spec"]["replicas"] = 2
    world.api.update(f"{path}/rc/scale", scale)
    world.api.wait(f"{path}/rc", lambda found: found["status"].get("readyReplicas") == 2)


def test_a_rolling_update_replaces_adopted_pods(world: World) -> None:
    rs = _make(world, "replicasets", "adopted", replicas=1)
    world.api.patch(rs, {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "3546343826724305832"}}})
    _all_ready(world, rs, 1)
    path = _make(world, "deployments", "d", replicas=1, template=template(restartPolicy="Always", hostname="new"))
    found = _all_ready(world, path, 1)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3546343826724305833"
    sets = world.api.get(f"{world.apis('apps/v1')}/replicasets")["items"]
    old = next(s for s in sets if s["metadata"]["name"] == "adopted")
    assert old["metadata"]["ownerReferences"][0]["name"] == "d" and old["spec"]["replicas"] == 0
    assert len(_live(world)) == 1


def test_recreate_never_runs_old_and_new_together(world: World) -> None:
    path = _make(world, "deployments", "d", replicas=1, strategy={"type": "Recreate"})
    _all_ready(world, path, 1)
    pods = f"{world.core}/pods"
    version = world.api.get(pods)["metadata"]["resourceVersion"]
    world.api.patch(path, _image(OTHER_IMAGE), STRATEGIC)
    _all_ready(world, path, 1)
    running: set[str] = set()
    for type_, pod in world.api.watch(pods, resourceVersion=version, seconds=1):
        image = pod["spec"]["containers"][0]["image"]
        over = type_ == "DELETED" or pod["status"]["phase"] in ("Succeeded", "Failed")
        running = running - {image} if over else running | {image}
        assert len(running) < 2 or pod["status"]["phase"] != "Running" or "deletionTimestamp" in pod["metadata"]


def test_old_replica_sets_go(world: World) -> None:
    path = _make(world, "deployments", "d", replicas=1, revisionHistoryLimit=0)
    _all_ready(world, path, 1)
    world.api.patch(path, _image(OTHER_IMAGE), STRATEGIC)
    sets = f"{world.apis('apps/v1')}/replicasets"
    world.api.wait(sets, lambda found: [s["spec"]["replicas"] for s in found["items"]] == [1])


def test_rollover_while_a_rollout_is_stuck(world: World) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    path = _make(world, "deployments", "d", replicas=1, strategy=strategy)
    _all_ready(world, path, 1)
    world.api.patch(path, _image("wherry.local/no-such:1"), STRATEGIC)
    sets = f"{world.apis('apps/v1')}/replicasets"
    world.api.wait(sets, lambda found: len(found["items"]) == 2)
    world.api.patch(path, _image(OTHER_IMAGE), STRATEGIC)
    _all_ready(world, path, 1)
    eventually(lambda: sorted(s["spec"]["replicas"] for s in world.api.get(sets)["items"]) == [0, 0, 1], "rollover")


def test_proportional_scaling(world: World) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 3}}
    path = _make(world, "deployments", "d", replicas=10, strategy=strategy)
    _all_ready(world, path, 10)
    world.api.patch(path, _image("wherry.local/no-such:1"), STRATEGIC)
    sets = f"{world.apis('apps/v1')}/replicasets"

    def sizes(*wanted: int) -> None:
        def shows(found: Object) -> bool:
            return sorted(s["spec"]["replicas"] for s in found["items"]) == sorted(wanted)

        world.api.wait(sets, shows, what=f"sizes {wanted}")

    sizes(8, 5)
    world.api.wait(path, lambda found: found["status"].get("availableReplicas") == 8)
    world.api.patch(path, {"spec": {"replicas": 30}})
    sizes(20, 13)


@pytest.mark.parametrize("plural", ["replicasets", "replicationcontrollers"])
def test_pods_are_adopted_and_released(world: World, plural: str) -> None:
    world.pod("orphan", labels={"app": "x"})
    path = f"{world.core}/{plural}" if plural.startswith("replicationc") else f"{world.apis('apps/v1')}/{plural}"
    selector = {"app": "x"} if plural.startswith("replicationc") else _SELECTOR
    body = {"replicas": 1, "selector": selector, "template": template()}
    made = world.api.create(path, {"metadata": {"name": "w"}, "spec": body})

    def owned(pod: Object) -> bool:
        references = pod["metadata"].get("ownerReferences", [])
        return [r["uid"] for r in references if r.get("controller")] == [made["metadata"]["uid"]]

    world.api.wait(f"{world.core}/pods/orphan", owned)
    world.api.patch(f"{world.core}/pods/orphan", {"metadata": {"labels": {"app": "z"}}})
    world.api.wait(f"{world.core}/pods/orphan", lambda pod: not pod["metadata"].get("ownerReferences"))
    world.api.wait(f"{path}/w", lambda found: found["status"].get("readyReplicas") == 1)


def test_a_quota_shows_as_a_condition_of_the_controller(world: World) -> None:
    world.api.create(f"{world.core}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
    world.api.wait(f"{world.core}/resourcequotas/q", lambda found: found["status"].get("used") == {"pods": "0"})
    path = f"{world.core}/replicationcontrollers"
    body = {"replicas": 3, "selector": {"app": "x"}, "template": template()}
    world.api.create(path, {"metadata": {"name": "rc"}, "spec": body})

    def failing(found: Object) -> bool:
        conditions = found["status"].get("conditions", [])
        return any(c["type"] == "ReplicaFailure" and c["status"] == "True" for c in conditions)

    found = world.api.wait(f"{path}/rc", failing)
    assert found["status"]["conditions"][0]["reason"] == "FailedCreate"
    found["spec"]["replicas"] = 2
    found["metadata"].pop("resourceVersion")
    world.api.update(f"{path}/rc", found)
    world.api.wait(f"{path}/rc", lambda found: not failing(found))


def _stateful(world: World, name: str, probe: str = "", **spec: Any) -> str:
    container: Object = {
        "name": "c",
        "image": IMAGE,
        "command": ["sh", "-c", "touch /tmp/ok; trap exit TERM; sleep 1d & wait"],
    }
    if probe:
        container["readinessProbe"] = {"exec": {"command": ["sh", "-c", probe]}, "periodSeconds": 1}
    made = template() | {"spec": pod_spec(containers=[container])}
    return _make(world, "statefulsets", name, serviceName="none", template=made, **spec)


def test_a_stateful_set_scales_in_order_and_halts_when_unhealthy(world: World) -> None:
    path = _stateful(world, "s", "test -f /tmp/ok", replicas=1)
    _all_ready(world, path, 1)
    pods = f"{world.core}/pods"
    version = world.api.get(pods)["metadata"]["resourceVersion"]
    world.exec("s-0", "rm /tmp/ok")
    world.api.wait(f"{pods}/s-0", lambda pod: not is_ready(pod))
    world.api.patch(path, {"spec": {"replicas": 3}})
    world.api.wait(path, lambda found: found["status"]["observedGeneration"] == found["metadata"]["generation"])
    assert [p["metadata"]["name"] for p in _live(world)] == ["s-0"]
    world.exec("s-0", "touch /tmp/ok")
    _all_ready(world, path, 3)
    for name in ("s-0", "s-1", "s-2"):
        world.exec(name, "rm /tmp/ok")
    world.api.wait(path, lambda found: not found["status"].get("readyReplicas"))
    world.api.patch(path, {"spec": {"replicas": 0}})
    world.api.wait(path, lambda found: found["status"]["observedGeneration"] == found["metadata"]["generation"])
    assert len(_live(world)) == 3
    for name in ("s-0", "s-1", "s-2"):
        world.try_exec(name, "touch /tmp/ok")
    world.api.wait(pods, lambda found: not found["items"])
    events = [(t, p["metadata"]["name"]) for t, p in world.api.watch(pods, resourceVersion=version, seconds=1)]
    assert [name for type_, name in events if type_ == "ADDED"] == ["s-1", "s-2"]
    assert [name for type_, name in events if type_ == "DELETED"] == ["s-2", "s-1", "s-0"]


def test_a_parallel_stateful_set_does_not_wait(world: World) -> None:
    path = _stateful(world, "s", "test -f /tmp/none", replicas=1, podManagementPolicy="Parallel")
    world.api.patch(path, {"spec": {"replicas": 3}})
    world.api.wait(path, lambda found: found["status"].get("replicas") == 3)
    world.api.patch(path, {"spec": {"replicas": 0}})
    world.api.wait(path, lambda found: found["status"].get("replicas") == 0)


def _revisions(world: World) -> dict[str, str]:
    return {p["metadata"]["name"]: p["metadata"]["labels"]["controller-revision-hash"] for p in _live(world)}


def _updated_to(world: World, image: str, found: Object) -> bool:
    status = found["status"]
    complete = status["currentRevision"] == status["updateRevision"] and status.get("updatedReplicas") == 3
    return complete and {p["spec"]["containers"][0]["image"] for p in _live(world)} == {image}


def test_a_stateful_set_updates_and_rolls_back(world: World) -> None:
    path = _stateful(world, "s", replicas=3)
    first = _all_ready(world, path, 3)["status"]
    assert first["currentRevision"] == first["updateRevision"]
    world.api.patch(path, _image(OTHER_IMAGE), STRATEGIC)
    for image in (OTHER_IMAGE, IMAGE):
        done = world.api.wait(path, partial(_updated_to, world, image))
        if image == OTHER_IMAGE:
            assert done["status"]["currentRevision"] != first["currentRevision"]
            world.api.patch(path, _image(IMAGE), STRATEGIC)
    assert done["status"]["currentRevision"] == first["currentRevision"]
    assert len(world.api.get(f"{world.apis('apps/v1')}/controllerrevisions")["items"]) == 2


def test_a_partition_holds_back_an_update(world: World) -> None:
    partition = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
    path = _stateful(world, "s", replicas=3, updateStrategy=partition)
    old = _all_ready(world, path, 3)["status"]["currentRevision"]
    world.api.patch(path, _image(OTHER_IMAGE), STRATEGIC)
    found = world.api.wait(path, lambda found: found["status"]["updateRevision"] != old)
    new = found["status"]["updateRevision"]
    assert set(_revisions(world).values()) == {old}
    world.api.patch(path, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}})
    eventually(lambda: _revisions(world) == {"s-0": old, "s-1": old, "s-2": new}, "canary")
    for name in ("s-0", "s-2"):
        world.api.delete(f"{world.core}/pods/{name}")
    eventually(lambda: _revisions(world) == {"s-0": old, "s-1": old, "s-2": new}, "restored")
    for part, wanted in ((1, {"s-0": old, "s-1": new, "s-2": new}), (0, {"s-0": new, "s-1": new, "s-2": new})):
        world.api.patch(path, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": part}}}})
        eventually(partial(lambda wanted: _revisions(world) == wanted, wanted), f"partition {part}")


def test_an_evicted_pod_of_a_stateful_set_comes_again(world: World) -> None:
    node = world.api.get("/api/v1/nodes")["items"][0]["metadata"]["name"]
    port = {"ports": [{"containerPort": 8080, "hostPort": 21017}]}
    world.pod("conflict", nodeName=node, container=port)
    world.ready("conflict")
    body = pod_spec(nodeName=node)
    body["containers"][0] |= port
    made = {"metadata": {"labels": {"app": "x"}}, "spec": body}
    _make(world, "statefulsets", "s", serviceName="none", template=made, replicas=1)
    first = world.api.wait(f"{world.core}/pods/s-0", lambda pod: pod and pod["status"].get("phase") == "Failed")
    world.api.wait(f"{world.core}/pods/s-0", lambda pod: pod and pod["metadata"]["uid"] != first["metadata"]["uid"])
    world.api.delete(f"{world.core}/pods/conflict")
    world.api.wait(f"{world.core}/pods/s-0", is_ready)


def test_a_daemon_set_follows_nodes_and_its_template(world: World) -> None:
    node = world.api.get("/api/v1/nodes")["items"][0]["metadata"]["name"]
    key = f"e2e.example.com/{world.ns}"
    path = _make(world, "daemonsets", "d", template=template(nodeSelector={key: "blue"}))
    world.api.wait(path, lambda found: found["status"].get("observedGeneration"))
    assert not _live(world)
    world.api.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {key: "blue"}}})
    world.api.wait(path, lambda found: found["status"].get("numberReady") == 1)
    pod = _live(world)[0]["metadata"]["name"]
    world.api.patch(f"{world.core}/pods/{pod}/status", {"status": {"phase": "Failed"}})
    world.api.gone(f"{world.core}/pods/{pod}")
    world.api.wait(path, lambda found: found["status"].get("numberReady") == 1)
    world.api.patch(path, _image(OTHER_IMAGE), STRATEGIC)
    eventually(lambda: [p["spec"]["containers"][0]["image"] for p in _live(world)] == [OTHER_IMAGE], "update")
    world.api.wait(path, lambda found: found["status"].get("updatedNumberScheduled") == 1)
    world.api.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {key: "green"}}})
    eventually(lambda: not _live(world), "no pod where the label does not match")
    world.api.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {key: None}}})


def test_revisions_of_a_daemon_set(world: World) -> None:
    path = _make(world, "daemonsets", "d")
    revisions = f"{world.apis('apps/v1')}/controllerrevisions"
    world.api.wait(path, lambda found: found["status"].get("numberReady") == 1)
    first = world.api.get(revisions)["items"]
    assert [r["revision"] for r in first] == [1] and first[0]["metadata"]["ownerReferences"][0]["name"] == "d"
    label = {"controller-revision-hash": first[0]["metadata"]["labels"]["controller-revision-hash"]}
    assert [pod["metadata"]["labels"] | label for pod in _live(world)] == [_live(world)[0]["metadata"]["labels"]]
    meta = {"name": "other", "labels": {"app": "x"}, "ownerReferences": first[0]["metadata"]["ownerReferences"]}
    world.api.create(revisions, {"metadata": meta, "data": first[0]["data"], "revision": 2})
    world.api.delete(f"{revisions}/{first[0]['metadata']['name']}")
    world.api.patch(path, _image(OTHER_IMAGE), STRATEGIC)
    world.api.wait(revisions, lambda found: sorted(r["revision"] for r in found["items"]) == [2, 3])
    world.api.patch(path, _image(IMAGE), STRATEGIC)
    world.api.wait(revisions, lambda found: sorted(r["revision"] for r in found["items"]) == [3, 4])
    eventually(lambda: [p["spec"]["containers"][0]["image"] for p in _live(world)] == [IMAGE], "rolled back")
    assert len(_live(world)) == 1
