from tests.unit.controllers.cluster import running
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import IPADDRESSES, SERVICECIDRS
from wherry.client.client import Client
from wherry.controllers.servicecidr import ServiceCIDRController


def make_cidr(name: str, *cidrs: str) -> Object:
    return {"kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": name},
            "spec": {"cidrs": list(cidrs)}}  # fmt: skip


ADDRESS: Object = {"kind": "IPAddress", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": "10.1.0.7"},
                   "spec": {}}  # fmt: skip


async def test_a_range_in_use_stays_until_its_addresses_are_free() -> None:
    async with running(ServiceCIDRController, objects=(make_cidr("a", "10.1.0.0/24"), ADDRESS)) as cluster:
        made = cluster.get(SERVICECIDRS, "a", None)
        assert made["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
        assert meta.is_true(made, "Ready")
        await Client(cluster.fake).delete(SERVICECIDRS, "a")
        await cluster.settle(60)
        condition = meta.condition(cluster.get(SERVICECIDRS, "a", None), "Ready")
        assert (condition["status"], condition["reason"]) == ("False", "Terminating")
        cluster.fake.remove(IPADDRESSES, "10.1.0.7")
        await cluster.settle()
        assert not cluster.fake.list(SERVICECIDRS)


async def test_a_range_goes_after_its_grace_when_another_has_its_addresses() -> None:
    objects = (make_cidr("a", "10.1.0.0/24"), make_cidr("b", "10.1.0.0/16", "2001:db8::/112"), ADDRESS)
    async with running(ServiceCIDRController, objects=objects) as cluster:
        await Client(cluster.fake).delete(SERVICECIDRS, "a")
        await cluster.settle(8)
        assert len(cluster.fake.list(SERVICECIDRS)) == 2
        await cluster.settle(4)
        assert [meta.name(cidr) for cidr in cluster.fake.list(SERVICECIDRS)] == ["b"]
