from collections.abc import AsyncIterator
from typing import Any

import pytest
from dnslib import QTYPE, RCODE, DNSRecord

from wherry.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.dns.answer import TTL, local_answer
from wherry.dns.names import ClusterNames


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "protocol": "TCP", "port": 80}]
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"type": "ClusterIP", "ports": ports, **spec}}


def slice_of(name: str, *endpoints: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}-x", "namespace": "ns", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": list(endpoints),
    }


READY, NOT_READY = {"conditions": {"ready": True}}, {"conditions": {"ready": False}}


@pytest.fixture
async def names() -> AsyncIterator[ClusterNames]:
    api = FakeTransport()
    api.put({"metadata": {"name": "ns"}}, NAMESPACES)
    api.put(service("web", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"]), SERVICES)
    api.put(service("db", clusterIP="None"), SERVICES)
    api.put(
        slice_of(
            "db",
            {"addresses": ["10.244.0.2"], "hostname": "db-0", **READY},
            {"addresses": ["10.244.0.3"], **READY},
            {"addresses": ["10.244.0.4"], "hostname": "db-2", **NOT_READY},
        ),
        ENDPOINTSLICES,
    )
    api.put(service("early", clusterIP="None", publishNotReadyAddresses=True), SERVICES)
    api.put(slice_of("early", {"addresses": ["10.244.0.5"], **NOT_READY}), ENDPOINTSLICES)
    api.put(service("empty", clusterIP="None"), SERVICES)
    api.put(service("out", type="ExternalName", externalName="example.org", ports=[]), SERVICES)
    async with InformerFactory(Client(api)) as factory:
        names = ClusterNames(factory, server_address="10.244.0.1")
        await names.wait_synced()
        yield names


def ask(names: ClusterNames, name: str, kind: str = "A") -> DNSRecord:
    response = local_answer(DNSRecord.question(name, kind), names)
    assert response is not None
    return response


def answers(names: ClusterNames, name: str, kind: str = "A") -> list[str]:
    return sorted(str(record.rdata) for record in ask(names, name, kind).rr)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.ns.svc.cluster.local", "A", ["10.96.0.7"]),
        ("WEB.ns.svc.Cluster.Local", "A", ["10.96.0.7"]),
        ("_http._tcp.web.ns.svc.cluster.local", "SRV", ["0 100 80 web.ns.svc.cluster.local."]),
        ("db.ns.svc.cluster.local", "A", ["10.244.0.2", "10.244.0.3"]),
        ("db-0.db.ns.svc.cluster.local", "A", ["10.244.0.2"]),
        ("10-244-0-3.db.ns.svc.cluster.local", "A", ["10.244.0.3"]),
        (
            "_http._tcp.db.ns.svc.cluster.local",
            "SRV",
            ["0 50 8080 10-244-0-3.db.ns.svc.cluster.local.", "0 50 8080 db-0.db.ns.svc.cluster.local."],
        ),
        ("early.ns.svc.cluster.local", "A", ["10.244.0.5"]),
        ("out.ns.svc.cluster.local", "CNAME", ["example.org."]),
        ("10-1-2-3.ns.pod.cluster.local", "A", ["10.1.2.3"]),
        ("dns-version.cluster.local", "TXT", ['"1.1.0"']),
        ("cluster.local", "NS", ["ns.dns.cluster.local."]),
        ("ns.dns.cluster.local", "A", ["10.244.0.1"]),
        ("7.0.96.10.in-addr.arpa", "PTR", ["web.ns.svc.cluster.local."]),
        ("2.0.244.10.in-addr.arpa", "PTR", ["db-0.db.ns.svc.cluster.local."]),
    ],
)
def test_records_of_the_specification(names: ClusterNames, name: str, kind: str, expected: list[str]) -> None:
    assert answers(names, name, kind) == expected


@pytest.mark.parametrize(
    "name",
    [
        "absent.ns.svc.cluster.local",
        "web.other.svc.cluster.local",
        "other.svc.cluster.local",
        "empty.ns.svc.cluster.local",
        "db-2.db.ns.svc.cluster.local",
        "host.web.ns.svc.cluster.local",
        "_smtp._tcp.web.ns.svc.cluster.local",
        "10-1-2-3.other.pod.cluster.local",
        "not-an-ip.ns.pod.cluster.local",
        "kubernetes.default.svc.cluster.local.ns.svc.cluster.local",
    ],
)
def test_names_that_do_not_exist_are_nxdomain_with_the_soa(names: ClusterNames, name: str) -> None:
    response = ask(names, name)
    assert response.header.rcode == RCODE.NXDOMAIN
    assert [(record.rtype, record.ttl) for record in response.auth] == [(QTYPE.SOA, TTL)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web.ns.svc.cluster.local", "AAAA"),
        ("ns.svc.cluster.local", "A"),
        ("svc.cluster.local", "A"),
        ("_tcp.web.ns.svc.cluster.local", "SRV"),
        ("cluster.local", "A"),
    ],
)
def test_names_that_exist_without_such_a_record_are_empty_with_the_soa(
    names: ClusterNames, name: str, kind: str
) -> None:
    response = ask(names, name, kind)
    assert (response.header.rcode, response.rr, len(response.auth)) == (RCODE.NOERROR, [], 1)


def test_names_of_others_are_not_answered_here(names: ClusterNames) -> None:
    for name, kind in (("example.org", "A"), ("1.1.168.192.in-addr.arpa", "PTR"), ("notcluster.local", "A")):
        assert local_answer(DNSRecord.question(name, kind), names) is None


def test_answers_rotate_so_that_clients_spread(names: ClusterNames) -> None:
    query = DNSRecord.question("db.ns.svc.cluster.local")
    first = set()
    for number in range(4):
        query.header.id = number
        response = local_answer(query, names)
        assert response is not None
        first.add(str(response.rr[0].rdata))
    assert first == {"10.244.0.2", "10.244.0.3"}
