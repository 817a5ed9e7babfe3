"""Which address a webhook is called at."""

from typing import Any

import pytest

from wherry.api.resources import ENDPOINTSLICES, SERVICES, Resource
from wherry.apiserver.webhookclient import WebhookClient, WebhookError


class Objects:
    """Implements the Reader of the API server over a few objects."""

    def __init__(self, services: dict[str, Any], slices: list[Any]) -> None:
        self._services, self._slices = services, slices

    def get(self, resource: Resource, namespace: str | None, name: str) -> Any:
        assert resource is SERVICES
        return self._services.get(name)

    def list(self, resource: Resource, namespace: str | None = None) -> list[Any]:
        assert resource is ENDPOINTSLICES
        return self._slices

    def version(self, resource: Resource) -> int:
        return 0

    def follow(self, resource: Resource, follower: Any) -> None:
        raise NotImplementedError


def client(*, ready: bool = True) -> WebhookClient:
    service = {"spec": {"ports": [{"name": "https", "port": 443, "targetPort": 9443}]}}
    entry = {
        "metadata": {"labels": {"kubernetes.io/service-name": "hook"}},
        "ports": [{"name": "https", "port": 9443}],
        "endpoints": [
            {"addresses": ["10.0.0.5"], "conditions": {"ready": ready}},
            {"addresses": ["10.0.0.6"], "conditions": {"ready": False}},
        ],
    }
    return WebhookClient(Objects({"hook": service}, [entry]))


CONFIG = {"service": {"namespace": "ns", "name": "hook", "path": "/convert"}}


def test_a_service_is_reached_at_a_ready_endpoint_under_its_own_name():
    shown, url, name = client()._address(CONFIG, 5)
    assert url == "https://10.0.0.5:9443/convert?timeout=5s"
    assert shown == "https://hook.ns.svc:443/convert?timeout=5s" and name == "hook.ns.svc:443"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"service": {"namespace": "ns", "name": "none"}}, 'service "none" not found'),
        ({"service": {"namespace": "ns", "name": "hook", "port": 1}}, 'no service port 1 found for service "hook"'),
        (CONFIG, 'no endpoints available for service "hook"'),
    ],
)
def test_a_service_that_cannot_be_reached_is_an_error(config: Any, message: str):
    with pytest.raises(WebhookError) as caught:
        client(ready=False)._address(config, 5)
    assert str(caught.value) == message


def test_an_address_is_called_as_it_is_written():
    _, url, name = client()._address({"url": "https://example.com:8443/x"}, 10)
    assert url == "https://example.com:8443/x?timeout=10s" and name == "example.com:8443"
