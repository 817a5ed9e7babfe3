"""Names that pods resolve: services, headless services, pods with a hostname, ExternalName, partial names."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.conformance.programs import NETEXEC
from tests.e2e.conformance.world import World, eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def named(town: World) -> Iterator[World]:
    """A namespace with a service, a headless one, and a pod behind them with a hostname and a subdomain."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    town.service("plain", selector={"app": "named"}, ports=ports)
    town.service("headless", selector={"app": "named"}, ports=ports, clusterIP="None")
    town.python("server", NETEXEC, labels={"app": "named"}, hostname="querier", subdomain="headless")
    town.python("client", hostname="client-host")
    for name in ("server", "client"):
        town.ready(name)
    yield town


def _resolves(world: World, name: str, wanted: str) -> None:
    eventually(lambda: world.ask("client", f"name://{name}")[0].split(" ")[1] == wanted, f"{name} is {wanted}")


def test_services_by_full_and_partial_names(named: World) -> None:
    plain = named.api.get(f"{named.core}/services/plain")["spec"]["clusterIP"]
    pod = named.api.get(f"{named.core}/pods/server")["status"]["podIP"]
    for name, wanted in (("plain", plain), ("headless", pod)):
        for form in (name, f"{name}.{named.ns}", f"{name}.{named.ns}.svc", f"{name}.{named.ns}.svc.cluster.local"):
            _resolves(named, form, wanted)
    master = named.api.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"]
    assert named.ask("client", "name://kubernetes.default")[0] == f"kubernetes.default.svc.cluster.local {master}"


def test_service_records_and_pointers(named: World) -> None:
    """SRV of every named port; PTR of the service's address and of the pod's behind the headless service."""
    plain = named.api.get(f"{named.core}/services/plain")["spec"]["clusterIP"]
    pod = named.api.get(f"{named.core}/pods/server")["status"]["podIP"]
    zone = f"{named.ns}.svc.cluster.local"
    for service, target in (("plain", f"plain.{zone}"), ("headless", f"querier.headless.{zone}")):
        command = f"nslookup -type=srv _http._tcp.{service}.{zone}"
        eventually(partial(lambda c, t: t in named.try_exec("client", c), command, target), command)
    assert named.ask("client", f"address://{plain}", f"address://{pod}") == [
        f"plain.{zone}",
        f"querier.headless.{zone}",
    ]


def test_pods_by_hostname_and_subdomain(named: World) -> None:
    pod = named.api.get(f"{named.core}/pods/server")["status"]["podIP"]
    zone = f"{named.ns}.svc.cluster.local"
    for name in (f"querier.headless.{zone}", f"querier.headless.{named.ns}", f"headless.{zone}"):
        _resolves(named, name, pod)
    assert named.exec("server", "hostname -f").strip() == f"querier.headless.{zone}"
    assert named.ask("server", "name://querier")[0].split(" ")[1] == pod
    hosts = named.exec("server", "cat /etc/hosts")
    assert f"{pod}\tquerier.headless.{zone}\tquerier" in hosts, hosts


def test_pods_by_address(named: World) -> None:
    pod = named.api.get(f"{named.core}/pods/server")["status"]["podIP"]
    _resolves(named, f"{pod.replace('.', '-')}.{named.ns}.pod.cluster.local", pod)


def test_etc_hosts_names_the_pod(named: World) -> None:
    pod = named.api.get(f"{named.core}/pods/client")["status"]["podIP"]
    hosts = named.exec("client", "cat /etc/hosts")
    assert "# Kubernetes-managed hosts file" in hosts and f"{pod}\tclient-host" in hosts
    assert named.exec("client", "hostname").strip() == "client-host"


def test_externalname_changes_and_becomes_a_clusterip(named: World) -> None:
    path = f"{named.core}/services/outside"
    named.service("outside", type="ExternalName", externalName="foo.example.com")
    name = f"outside.{named.ns}.svc.cluster.local"

    def alias(wanted: str) -> bool:
        shown = named.try_exec("client", f"nslookup -type=cname {name}")
        return f"canonical name = {wanted}" in shown

    eventually(partial(alias, "foo.example.com"), "the first name")
    named.api.patch(path, {"spec": {"externalName": "bar.example.com"}})
    eventually(partial(alias, "bar.example.com"), "the second name")
    found = named.api.get(path)
    found["spec"] |= {"type": "ClusterIP", "ports": [{"port": 80, "name": "http"}]}
    found["spec"].pop("externalName")
    made = named.api.update(path, found)
    _resolves(named, "outside", made["spec"]["clusterIP"])


def test_a_pods_own_dns_configuration(named: World) -> None:
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["resolv.conf.local"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    named.pod("configured", dnsPolicy="None", dnsConfig=config)
    named.ready("configured")
    text = named.exec("configured", "cat /etc/resolv.conf")
    assert text.splitlines() == ["search resolv.conf.local", "nameserver 1.1.1.1", "options ndots:2 edns0"]


def test_endpoints_of_new_services_come_at_once(named: World) -> None:
    names = [f"latency-{number}" for number in range(20)]
    for name in names:
        named.service(name, selector={"app": "named"}, ports=[{"port": 80}])
    for name in names:
        named.api.wait(f"{named.core}/endpoints/{name}", lambda found: found and found.get("subsets"), seconds=5)
