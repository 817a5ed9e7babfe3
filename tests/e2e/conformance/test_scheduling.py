"""Where pods go, where they do not, and who makes way for whom."""

from functools import partial
from typing import Any

import pytest

from tests.e2e.conformance.api import Api, Object, Refused
from tests.e2e.conformance.objects import template
from tests.e2e.conformance.world import World, eventually

pytestmark = pytest.mark.e2e
_RESOURCE = "e2e.example.com/fakecpu"


@pytest.fixture
def node(api: Api) -> Any:
    """The node with ten units of a resource of our own."""
    name = api.get("/api/v1/nodes")["items"][0]["metadata"]["name"]
    path = f"/api/v1/nodes/{name}"
    api.patch(f"{path}/status", {"status": {"capacity": {_RESOURCE: "10"}, "allocatable": {_RESOURCE: "10"}}})
    yield path
    api.patch(f"{path}/status", {"status": {"capacity": {_RESOURCE: None}, "allocatable": {_RESOURCE: None}}})


@pytest.fixture
def classes(api: Api, ns: str) -> Any:
    """Priority classes p1 to p4 of this test."""
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    for value in range(1, 5):
        api.create(path, {"metadata": {"name": f"{ns}-p{value}", "labels": {"e2e": ns}}, "value": value})
    yield lambda value: f"{ns}-p{value}"
    api.call("DELETE", path, labelSelector=f"e2e={ns}")


def _uses(units: int) -> Object:
    return {"resources": {"requests": {_RESOURCE: str(units)}, "limits": {_RESOURCE: str(units)}}}


def _unschedulable(world: World, name: str) -> Object:
    def refused(pod: Object) -> bool:
        return any(c.get("reason") == "Unschedulable" for c in pod["status"].get("conditions", []))

    made: Object = world.api.wait(f"{world.core}/pods/{name}", refused)
    return made


def test_node_selectors(world: World, node: str) -> None:
    key = f"e2e.example.com/{world.ns}"
    world.pod("p", nodeSelector={key: "42"})
    assert "1 node(s) didn't match Pod's node affinity/selector" in str(_unschedulable(world, "p"))
    world.api.patch(node, {"metadata": {"labels": {key: "42"}}})
    assert world.ready("p")["spec"]["nodeName"] == node.rsplit("/", 1)[1]
    world.api.patch(node, {"metadata": {"labels": {key: None}}})


def test_pods_that_ask_for_too_much_wait(world: World, node: str) -> None:
    world.pod("filler", container=_uses(8))
    world.ready("filler")
    world.pod("more", container=_uses(3))
    assert f"Insufficient {_RESOURCE}" in str(_unschedulable(world, "more"))
    events = world.api.get(f"{world.core}/events", fieldSelector="reason=FailedScheduling,involvedObject.name=more")
    assert events["items"]
    world.api.delete(f"{world.core}/pods/filler")
    world.ready("more")


def test_host_ports_conflict_with_all_addresses(world: World, node: str) -> None:
    port = {"containerPort": 8080, "hostPort": 54322, "protocol": "TCP"}
    address = world.api.get(node)["status"]["addresses"][0]["address"]
    world.pod("any", container={"ports": [port]})
    world.ready("any")
    world.pod("one", container={"ports": [port | {"hostIP": address}]})
    assert "didn't have free ports" in str(_unschedulable(world, "one"))


@pytest.mark.parametrize("critical", [False, True])
def test_lower_priorities_make_way(world: World, node: str, classes: Any, critical: bool) -> None:
    # One after the other: while pods of an earlier test still leave, the second would take the first one's place.
    for name, units, priority in (("low", 4, 1), ("middle", 6, 2)):
        world.pod(name, container=_uses(units), priorityClassName=classes(priority))
        world.ready(name)
    if critical:
        home = World(world.api, world.cluster, "kube-system")
        name = f"critical-{world.ns}"
        home.pod(name, container=_uses(4), priorityClassName="system-cluster-critical")
        home.ready(name)
        home.api.delete(f"{home.core}/pods/{name}")
    else:
        world.pod("high", container=_uses(4), priorityClassName=classes(3))
        world.ready("high")
    assert world.api.get(f"{world.core}/pods/middle")["status"]["phase"] == "Running"
    world.api.gone(f"{world.core}/pods/low")


def test_a_preempted_pod_says_so(world: World, node: str, classes: Any) -> None:
    world.pod("victim", container=_uses(10), priorityClassName=classes(1))
    world.ready("victim")
    path = f"{world.core}/pods/victim"
    world.api.patch(path, {"metadata": {"finalizers": ["example.com/hold"]}})
    world.pod("winner", container=_uses(10), priorityClassName=classes(3))

    def disrupted(pod: Object) -> bool:
        conditions = [c for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget"]
        return bool(conditions) and conditions[0]["reason"] == "PreemptionByScheduler"

    victim = world.api.wait(path, disrupted)
    assert "deletionTimestamp" in victim["metadata"]
    world.api.patch(path, {"metadata": {"finalizers": None}})
    world.ready("winner")


def test_replica_sets_of_rising_priority(world: World, node: str, classes: Any) -> None:
    sets = f"{world.apis('apps/v1')}/replicasets"
    for value, replicas, units in ((1, 5, 1), (2, 4, 1), (3, 1, 1), (4, 1, 5)):
        made = template(priorityClassName=classes(value))
        made["metadata"]["labels"] = {"p": str(value)}
        made["spec"]["containers"][0] |= _uses(units)
        spec = {"replicas": replicas, "selector": {"matchLabels": {"p": str(value)}}, "template": made}
        world.api.create(sets, {"metadata": {"name": f"p{value}"}, "spec": spec})
        wanted = partial(lambda count, found: found["status"].get("readyReplicas") == count, replicas)
        world.api.wait(f"{sets}/p{value}", wanted)

    def running() -> list[int]:
        return [world.api.get(f"{sets}/p{value}")["status"].get("readyReplicas", 0) for value in range(1, 5)]

    eventually(lambda: running() == [0, 4, 1, 1], "the four levels")


def test_priority_classes_values_do_not_change(api: Api, classes: Any) -> None:
    path = f"/apis/scheduling.k8s.io/v1/priorityclasses/{classes(1)}"
    api.patch(path, {"description": "new"})
    found = api.get(path)
    found["description"] = "newer"
    assert api.update(path, found)["description"] == "newer"
    for change in ({"value": 9}, {"preemptionPolicy": "Never"}):
        with pytest.raises(Refused) as refused:
            api.patch(path, change)
        assert refused.value.code == 422


def test_a_taint_evicts_in_time(world: World, node: str) -> None:
    key = "e2e.example.com/evict"
    tolerant = {"key": key, "operator": "Exists", "effect": "NoExecute"}
    world.pod("stays", tolerations=[tolerant])
    world.pod("goes", tolerations=[tolerant | {"tolerationSeconds": 1}])
    for name in ("stays", "goes"):
        world.ready(name)
    before = world.api.get(node)["spec"].get("taints", [])
    world.api.patch(node, {"spec": {"taints": [*before, {"key": key, "value": "1", "effect": "NoExecute"}]}})
    try:
        world.api.gone(f"{world.core}/pods/goes")
        assert "deletionTimestamp" not in world.api.get(f"{world.core}/pods/stays")["metadata"]
    finally:
        world.api.patch(node, {"spec": {"taints": before or None}})
