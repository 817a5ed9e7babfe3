"""Where the API server goes for a client of ``proxy``."""

from typing import Any, cast

import pytest

from wherry.api.errors import StatusError
from wherry.api.resources import PODS, Resource
from wherry.apiserver.proxytarget import pod_target, service_target, split_proxy_name
from wherry.apiserver.registry import Registry

Object = dict[str, Any]
PORTS = [{"name": "http", "port": 80}, {"name": "dns", "port": 53}]


def pod(name: str, ip: str, *ports: int) -> Object:
    container = {"name": "c", "ports": [{"containerPort": port} for port in ports]}
    status = {"podIP": ip, "podIPs": [{"ip": ip}]} if ip else {}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"containers": [container]}, "status": status}


def endpoint(ip: str, target: str, **conditions: bool) -> Object:
    ref = {"targetRef": {"kind": "Pod", "namespace": "ns", "name": target}} if target else {}
    return {"addresses": [ip], "conditions": conditions, **ref}


class FakeRegistry:
    """Pods and the slices of one service."""

    def __init__(self, *endpoints: Object, pods: tuple[Object, ...] = ()) -> None:
        labels = {"kubernetes.io/service-name": "web"}
        self._slice = {
            "metadata": {"labels": labels},
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080}],
        }
        self._pods = {p["metadata"]["name"]: p for p in pods}

    def list(self, resource: Resource, namespace: str) -> list[Object]:
        return [self._slice]

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        assert resource is PODS
        return self._pods.get(name)


def reached(registry: FakeRegistry, port: str = "http") -> str:
    """Where a request goes, or why it does not."""
    service = {"metadata": {"name": "web", "namespace": "ns"}, "spec": {"ports": PORTS}}
    try:
        return str(service_target(cast(Registry, registry), service, "", port))
    except StatusError as error:
        return str(error)


def test_a_service_spreads_over_its_ready_pods() -> None:
    pods = (pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), pod("c", "10.0.0.3"))
    ends = (endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b"), endpoint("10.0.0.3", "c", ready=False))
    found = {reached(FakeRegistry(*ends, pods=pods), "80") for _ in range(100)}
    assert found == {"http://10.0.0.1:8080", "http://10.0.0.2:8080"}


@pytest.mark.parametrize("target", ["", "gone", "other"])
def test_what_is_no_pod_is_not_reached_through_a_service(target: str) -> None:
    registry = FakeRegistry(endpoint("169.254.169.254", target), pods=(pod("other", "10.0.0.9"),))
    assert reached(registry) == 'no endpoints available for service "web"'


def test_ports_that_a_service_does_not_have() -> None:
    assert reached(FakeRegistry(), "81") == 'no service port 81 found for service "web"'
    assert reached(FakeRegistry(), "dns") == 'no endpoints available for service "web"'


@pytest.mark.parametrize(
    ("obj", "port", "told"),
    [
        (pod("a", "10.0.0.1", 160, 162), "", "http://10.0.0.1:160"),
        (pod("a", "10.0.0.1"), "", "http://10.0.0.1"),
        (pod("a", "10.0.0.1"), "8080", "http://10.0.0.1:8080"),
        (pod("a", "10.0.0.1"), "web", "error trying to reach service: dial tcp: lookup tcp/web: unknown port"),
        (pod("a", ""), "80", "address not allowed"),
        (pod("a", "127.0.0.1"), "80", "address not allowed"),
        (pod("a", "169.254.169.254"), "80", "address not allowed"),
    ],
)
def test_a_pod_is_reached_at_its_own_address(obj: Object, port: str, told: str) -> None:
    try:
        assert str(pod_target(obj, "", port)) == told
    except StatusError as error:
        assert str(error) == told


def test_names_with_schemes_and_ports() -> None:
    assert split_proxy_name("https:p:443") == ("https", "p", "443")
    assert split_proxy_name("p:x") == ("", "p", "x")
    for wrong in ("ftp:p:1", ":1", "a:b:c:d", "http::1"):
        with pytest.raises(StatusError, match=f'invalid pod request "{wrong}"'):
            split_proxy_name(wrong, kind="pod")
