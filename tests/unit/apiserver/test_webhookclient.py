"""Which address a webhook is called at."""

from typing import Any

import pytest

from wherry.api.resources import ENDPOINTSLICES, SERVICES, Resource
from wherry.apiserver.webhookclient import WebhookClient, WebhookError, _object_of


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
    assert client()._address(CONFIG, 5) == ("https://10.0.0.5:9443/convert?timeout=5s", "hook.ns.svc:443")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"service": {"namespace": "ns", "name": "none"}}, 'service "none" not found'),
        ({"service": {"namespace": "ns", "name": "hook", "port": 1}}, 'no service port 1 found for service "hook"'),
        (CONFIG, 'no endpoints available for service "hook"'),
    ],
)
async def test_a_service_that_cannot_be_reached_is_an_error(config: Any, message: str):
    found, port = config["service"], config["service"].get("port", 443)
    asked = client(ready=False)
    with pytest.raises(WebhookError) as caught:
        await asked.post(config, {}, timeout=5)
    await asked.close()
    url = f"https://{found['name']}.ns.svc:{port}{found.get('path', '/')}?timeout=5s"
    assert str(caught.value) == f'Post "{url}": {message}'


def test_an_address_is_called_as_it_is_written():
    url, name = client()._address({"url": "https://example.com:8443/x"}, 10)
    assert url == "https://example.com:8443/x?timeout=10s" and name == "example.com:8443"


@pytest.mark.parametrize(
    ("status", "media", "body", "message"),
    [
        (200, "text/plain", b"", "0-length response with status code: 200 and content type: text/plain"),
        (204, "", b"x", "couldn't get version/kind; json parse error: invalid character 'x' looking for beginning of"),
        (200, "", b"[]", "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of"),
        (200, "", b'{"kind":"Status","status":"Failure","message":"no"}', "no"),
        (500, "text/html", b"<b>", 'an error on the server ("<b>") has prevented the request from succeeding'),
        (502, "image/png", b"x", 'an error on the server ("unknown") has prevented the request from succeeding'),
        (503, "application/json", b'{"kind":"Status","status":"Failure","message":"soon"}', "soon"),
        (404, "text/plain", b"404 page not found", "the server could not find the requested resource"),
        (403, "", b" not you\n", "not you"),
        (302, "", b"", "the server responded with the status code 302 but did not return more information"),
    ],
)
def test_answers_that_are_no_object(status: int, media: str, body: bytes, message: str):
    with pytest.raises(WebhookError) as caught:
        _object_of(status, media, body)
    assert str(caught.value).startswith(message)
    assert caught.value.code == (status if status > 300 else 503)
