from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running
from wherry.api import meta
from wherry.api.resources import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES
from wherry.controllers.endpoints import EndpointsController
from wherry.controllers.endpointslice import MAX_ENDPOINTS, EndpointSliceController, Inputs, plan


def service(**spec: object) -> dict:
    return {
        "kind": "Service", "apiVersion": "v1",
        "metadata": {"name": "s", "namespace": "ns", "uid": "su", "labels": {"x": "y"},
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
                 "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}], **spec},
    }  # fmt: skip


def pod(number: int, *, ready: bool = True, port: int = 8080, **more: object) -> dict:
    container = {"name": "c", "ports": [{"name": "web", "containerPort": port}]}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:09Z"}
    return {
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": f"p{number}", "namespace": "ns", "uid": f"u{number}", "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [container], **more},
        "status": {"phase": "Running", "podIP": f"10.1.0.{number}", "podIPs": [{"ip": f"10.1.0.{number}"}],
                   "conditions": [condition]},
    }  # fmt: skip


NODE = {
    "kind": "Node", "apiVersion": "v1",
    "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z1"}},
}  # fmt: skip
KINDS = (EndpointsController, EndpointSliceController)


def the_slice(cluster: Cluster) -> dict:
    [found] = cluster.fake.list(ENDPOINTSLICES)
    return found


async def test_ready_and_unready_pods_are_told_apart() -> None:
    async with running(*KINDS, objects=(NODE, service(), pod(1), pod(2, ready=False))) as cluster:
        target = {"kind": "Pod", "namespace": "ns"}
        second = {**target, "name": "p2", "uid": "u2"}
        assert cluster.get(ENDPOINTS, "s")["subsets"] == [{
            "addresses": [{"ip": "10.1.0.1", "nodeName": "n", "targetRef": {**target, "name": "p1", "uid": "u1"}}],
            "notReadyAddresses": [{"ip": "10.1.0.2", "nodeName": "n", "targetRef": second}],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }]  # fmt: skip
        found = the_slice(cluster)
        assert found["metadata"]["generateName"] == "s-"
        assert found["metadata"]["labels"] == {
            "x": "y", "kubernetes.io/service-name": "s",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }  # fmt: skip
        assert found["metadata"]["annotations"] == {
            "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:09Z"
        }
        assert found["endpoints"][0] == {
            "addresses": ["10.1.0.1"], "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {**target, "name": "p1", "uid": "u1"}, "nodeName": "n", "zone": "z1",
        }  # fmt: skip
        assert found["endpoints"][1]["conditions"] == {"ready": False, "serving": False, "terminating": False}
        assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


async def test_a_service_without_pods_has_an_empty_slice_and_empty_endpoints() -> None:
    async with running(*KINDS, objects=(service(),)) as cluster:
        assert the_slice(cluster)["endpoints"] is None and the_slice(cluster)["ports"] is None
        assert not cluster.get(ENDPOINTS, "s")["subsets"]
        cluster.fake.put(NODE)
        cluster.fake.put(pod(1))
        await cluster.settle(10)
        assert len(the_slice(cluster)["endpoints"]) == 1
        cluster.fake.remove(PODS, "ns/p1")
        await cluster.settle()
        assert the_slice(cluster)["endpoints"] is None


async def test_a_terminating_pod_keeps_serving_in_slices_and_leaves_endpoints() -> None:
    async with running(*KINDS, objects=(NODE, service(), pod(1))) as cluster:
        await cluster.client.delete(PODS, "p1", "ns")
        await cluster.settle()
        assert the_slice(cluster)["endpoints"][0]["conditions"] == {
            "ready": False, "serving": True, "terminating": True,
        }  # fmt: skip
        assert cluster.get(ENDPOINTS, "s")["subsets"] == []


async def test_publish_not_ready_addresses_makes_everything_ready() -> None:
    headless = service(clusterIP="None", publishNotReadyAddresses=True)
    named = pod(1, ready=False, hostname="web-0", subdomain="s")
    async with running(*KINDS, objects=(NODE, headless, named)) as cluster:
        [subset] = cluster.get(ENDPOINTS, "s")["subsets"]
        assert subset["addresses"][0]["hostname"] == "web-0"
        assert the_slice(cluster)["endpoints"][0]["hostname"] == "web-0"
        assert the_slice(cluster)["endpoints"][0]["conditions"] == {
            "ready": True, "serving": False, "terminating": False,
        }  # fmt: skip
        assert "service.kubernetes.io/headless" in meta.labels(the_slice(cluster))


async def test_pods_whose_named_port_differs_are_in_other_slices_and_subsets() -> None:
    async with running(*KINDS, objects=(NODE, service(), pod(1), pod(2, port=9090))) as cluster:
        slices = cluster.fake.list(ENDPOINTSLICES)
        assert sorted(found["ports"][0]["port"] for found in slices) == [8080, 9090]
        assert len(cluster.get(ENDPOINTS, "s")["subsets"]) == 2


async def test_a_deleted_service_takes_its_endpoints_and_leaves_foreign_ones() -> None:
    foreign = {"kind": "Endpoints", "apiVersion": "v1", "metadata": {"name": "own", "namespace": "ns"}}
    async with running(*KINDS, objects=(NODE, service(), pod(1), foreign)) as cluster:
        cluster.fake.remove(SERVICES, "ns/s")
        await cluster.settle()
        assert [meta.name(found) for found in cluster.fake.list(ENDPOINTS)] == ["own"]


async def test_nothing_is_written_when_nothing_changes() -> None:
    async with running(*KINDS, objects=(NODE, service(), pod(1))) as cluster:
        before = len(cluster.fake.calls)
        changed = cluster.get(PODS, "p1")
        changed["status"]["startTime"] = "2026-01-01T00:00:00Z"
        cluster.fake.put(changed)
        await cluster.settle()
        assert len(cluster.fake.calls) == before


@given(st.sets(st.integers(0, 600), max_size=300), st.sets(st.integers(0, 600), max_size=300))
def test_every_endpoint_is_in_exactly_one_slice_and_slices_are_full(first: set[int], second: set[int]) -> None:
    slices: dict[str, dict] = {}
    for wanted in (first, second):
        pods = tuple(pod(number % 250) | {"metadata": {**pod(number)["metadata"]}} for number in sorted(wanted))
        todo = plan(Inputs(service(), pods, tuple(slices.values()), {"n": ""}))
        for gone in todo.delete:
            del slices[gone["metadata"]["name"]]
        for number, made in enumerate(todo.create):
            name = f"{len(slices)}-{number}-{len(wanted)}"
            slices[name] = {**made, "metadata": {**made["metadata"], "name": name}}
        for changed in todo.update:
            slices[changed["metadata"]["name"]] = changed
        held = [entry["targetRef"]["name"] for found in slices.values() for entry in found["endpoints"] or ()]
        assert sorted(held) == sorted(f"p{number}" for number in wanted)
        assert all(len(found["endpoints"] or ()) <= MAX_ENDPOINTS for found in slices.values())
        assert slices
        again = plan(Inputs(service(), pods, tuple(slices.values()), {"n": ""}))
        assert not (again.create or again.update or again.delete)
