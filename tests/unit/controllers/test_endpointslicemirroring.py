from tests.unit.controllers.cluster import running
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTS, ENDPOINTSLICES
from wherry.controllers.endpointslicemirroring import EndpointSliceMirroringController, Inputs, plan

SERVICE: Object = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "ns"},
                   "spec": {"clusterIP": "10.0.0.1"}}  # fmt: skip


def make_endpoints(*addresses: str, not_ready: tuple[str, ...] = (), **labels: str) -> Object:
    subset = {
        "addresses": [{"ip": ip} for ip in addresses], "notReadyAddresses": [{"ip": ip} for ip in not_ready],
        "ports": [{"name": "web", "port": 80, "protocol": "TCP"}],
    }  # fmt: skip
    metadata = {"name": "s", "namespace": "ns", "uid": "u", "labels": labels}
    return {"kind": "Endpoints", "apiVersion": "v1", "metadata": metadata, "subsets": [subset]}


async def test_a_slice_follows_the_endpoints_and_goes_with_them() -> None:
    async with running(EndpointSliceMirroringController, objects=(SERVICE, make_endpoints("192.0.2.1"))) as cluster:
        [found] = cluster.fake.list(ENDPOINTSLICES)
        assert found["endpoints"] == [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}]
        assert found["ports"] == [{"name": "web", "port": 80, "protocol": "TCP"}]
        assert meta.labels(found) == {
            "kubernetes.io/service-name": "s",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        }
        assert meta.controller_of(found)["kind"] == "Endpoints"
        cluster.fake.put(make_endpoints("192.0.2.2", not_ready=("192.0.2.3",), a="b"))
        await cluster.settle()
        [changed] = cluster.fake.list(ENDPOINTSLICES)
        assert meta.name(changed) == meta.name(found) and meta.labels(changed)["a"] == "b"
        assert [entry["conditions"]["ready"] for entry in changed["endpoints"]] == [True, False]
        cluster.fake.remove(ENDPOINTS, "ns/s")
        await cluster.settle()
        assert not cluster.fake.list(ENDPOINTSLICES)


async def test_services_with_a_selector_and_skipped_endpoints_are_not_mirrored() -> None:
    selecting = {**SERVICE, "spec": {"selector": {"a": "b"}}}
    async with running(EndpointSliceMirroringController, objects=(selecting, make_endpoints("192.0.2.1"))) as cluster:
        assert not cluster.fake.list(ENDPOINTSLICES)
        cluster.fake.put(SERVICE)
        await cluster.settle()
        assert len(cluster.fake.list(ENDPOINTSLICES)) == 1
        cluster.fake.put(make_endpoints("192.0.2.1", **{"endpointslice.kubernetes.io/skip-mirror": "true"}))
        await cluster.settle()
        assert not cluster.fake.list(ENDPOINTSLICES)


def test_addresses_are_split_by_family_and_size() -> None:
    many = [f"10.0.{number // 250}.{number % 250}" for number in range(1500)]
    todo = plan(Inputs(SERVICE, make_endpoints(*many, "2001:db8::1", "x"), []))
    assert sorted((made["addressType"], len(made["endpoints"])) for made in todo.create) == [
        ("IPv4", 500), ("IPv4", 1000), ("IPv6", 1),
    ]  # fmt: skip
    assert todo.invalid == ("x",)
