"""A group version that another server serves."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.component.apiserver.conftest import Http
from wherry.api.errors import Forbidden, NotFound, StatusError
from wherry.api.resources import Resource
from wherry.apiserver.attributes import MASTERS_GROUP, UserInfo
from wherry.apiserver.server import ApiServer
from wherry.client.client import Client
from wherry.cluster.pki import Authority

GROUP = "wardle.example.com"
RESOURCES = {
    "kind": "APIResourceList",
    "groupVersion": f"{GROUP}/v1",
    "resources": [
        {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": ["get"]}
    ],
}


FLUNDERS = f"/apis/{GROUP}/v1/namespaces/{{namespace}}/flunders"
SCHEMA = {"schema": {"$ref": "#/definitions/wardle.Flunder"}}
DOCUMENTS: dict[str, Any] = {
    f"/apis/{GROUP}/v1": RESOURCES,
    "/openapi/v2": {
        "swagger": "2.0",
        "paths": {FLUNDERS: {"get": {"responses": {"200": SCHEMA}}}, "/healthz": {}},
        "definitions": {"wardle.Flunder": {"type": "object"}, "wardle.Unused": {}},
    },
    "/openapi/v3": {"paths": {f"apis/{GROUP}/v1": {"serverRelativeURL": f"/openapi/v3/apis/{GROUP}/v1?hash=1"}}},
    f"/openapi/v3/apis/{GROUP}/v1": {"openapi": "3.0.0", "paths": {FLUNDERS: {}}},
}


class Other:
    """The other server: answers discovery, and whatever else is asked with who asked."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.port = 0
        self.well = True
        self.server = web.Server(self._answer)

    async def settled(self) -> None:
        """Wait until no connection is open: each is a task."""
        while self.server.connections:  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(0.001)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = self._said(request)
        response.force_close()
        return response

    def _said(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self.well:
            return web.Response(status=500)
        if request.path in DOCUMENTS:
            return web.json_response(DOCUMENTS[request.path])
        return web.json_response({"user": request.headers.getall("X-Remote-User"), "path": request.raw_path})


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Other]:
    other = Other(Authority(tmp_path))
    pair = other.authority.server("sample", ["sample.default.svc"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    runner = web.ServerRunner(other.server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    other.port = runner.addresses[0][1]
    yield other
    await runner.cleanup()


async def aggregate(http: Http, other: Other) -> None:
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": other.port}]}
    await http("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "sample"}, "spec": spec})
    service = {"namespace": "default", "name": "sample", "port": other.port}
    bundle = base64.b64encode(other.authority.files.certificate.read_bytes()).decode()
    code, answer = await http(
        "POST",
        "/apis/apiregistration.k8s.io/v1/apiservices",
        {
            "metadata": {"name": f"v1.{GROUP}"},
            "spec": {
                "group": GROUP, "version": "v1", "service": service, "caBundle": bundle,
                "groupPriorityMinimum": 2000, "versionPriority": 200,
            },
        },
    )  # fmt: skip
    assert code == 201, answer


async def condition(http: Http, status: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            _, service = await http("GET", f"/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}")
            for found in service.get("status", {}).get("conditions", ()):
                if found["status"] == status:
                    return found
            await asyncio.sleep(0.01)


async def test_requests_reach_the_other_server_as_their_user(http: Http, other: Other) -> None:
    await aggregate(http, other)
    assert (await condition(http, "True"))["reason"] == "Passed"
    path = f"/apis/{GROUP}/v1/namespaces/a/flunders?limit=1"
    code, answer = await http("GET", path, X_Remote_User="system:masters")
    assert (code, answer) == (200, {"user": ["admin"], "path": path})
    await other.settled()


async def test_clients_in_process_reach_the_other_server_as_their_user(
    http: Http, other: Other, server: ApiServer
) -> None:
    flunders = Resource(GROUP, "v1", "flunders", "flunder", "Flunder", True, frozenset({"list"}))
    admin = Client(server.transport(UserInfo("autoscaler", (MASTERS_GROUP,))))
    jane = Client(server.transport(UserInfo("jane")))
    await aggregate(http, other)
    await condition(http, "True")
    path = f"/apis/{GROUP}/v1/namespaces/a/flunders?labelSelector=b%3Dc"
    assert await admin.list(flunders, "a", labelSelector="b=c") == {"user": ["autoscaler"], "path": path}
    assert await admin.discover(GROUP, "v1") == RESOURCES
    with pytest.raises(Forbidden):
        await jane.list(flunders, "a")
    other.well = False
    with pytest.raises(StatusError, match="the server answered 500"):
        await admin.list(flunders, "a")
    await http("DELETE", f"/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}")
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await admin.list(flunders, "a")
    await other.settled()


async def test_discovery_lists_what_the_other_server_has(http: Http, other: Other) -> None:
    await aggregate(http, other)
    await condition(http, "True")
    _, groups = await http("GET", "/apis")
    assert {"groupVersion": f"{GROUP}/v1", "version": "v1"} in next(
        group["versions"] for group in groups["groups"] if group["name"] == GROUP
    )
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    _, found = await http("GET", "/apis", Accept=accept)
    (version,) = next(item for item in found["items"] if item["metadata"]["name"] == GROUP)["versions"]
    assert version["freshness"] == "Current"
    assert version["resources"][0]["resource"] == "flunders"
    await other.settled()


async def test_a_service_that_does_not_answer_is_unavailable(http: Http, other: Other) -> None:
    other.well = False
    await aggregate(http, other)
    assert (await condition(http, "False"))["reason"] == "FailedDiscoveryCheck"
    code, answer = await http("GET", f"/apis/{GROUP}/v1/flunders")
    assert (code, answer) == (503, "service unavailable\n")
    await other.settled()


async def test_a_status_that_somebody_else_wrote_is_made_right_at_once(http: Http, other: Other) -> None:
    await aggregate(http, other)
    await condition(http, "True")
    conditions = [{"type": "Mine", "status": "False", "reason": "R", "message": ""}]
    path = f"/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}/status"
    merge = "application/merge-patch+json"
    code, _ = await http("PATCH", path, {"status": {"conditions": conditions}}, Content_Type=merge)
    assert code == 200
    assert (await condition(http, "True"))["type"] == "Available"
    assert (await condition(http, "False"))["type"] == "Mine"
    await other.settled()


async def test_a_server_that_comes_later_is_found_soon(http: Http, other: Other) -> None:
    other.well = False
    await aggregate(http, other)
    await condition(http, "False")
    other.well = True
    assert (await condition(http, "True"))["reason"] == "Passed"
    await other.settled()


async def test_a_group_version_is_gone_with_its_apiservice(http: Http, other: Other) -> None:
    await aggregate(http, other)
    await condition(http, "True")
    await http("DELETE", f"/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}")
    code, _ = await http("GET", f"/apis/{GROUP}/v1/flunders")
    assert code == 404
    _, groups = await http("GET", "/apis")
    assert GROUP not in [group["name"] for group in groups["groups"]]
    await other.settled()


async def test_openapi_has_what_the_other_server_serves(http: Http, other: Other) -> None:
    await aggregate(http, other)
    await condition(http, "True")
    _, index = await http("GET", "/openapi/v3")
    url = json.loads(index)["paths"][f"apis/{GROUP}/v1"]["serverRelativeURL"]
    assert (await http("GET", url))[1]["paths"] == {FLUNDERS: {}}
    _, document = await http("GET", "/openapi/v2")
    assert document["paths"][FLUNDERS] and "/api/v1/pods" in document["paths"]
    assert "wardle.Flunder" in document["definitions"] and "wardle.Unused" not in document["definitions"]
    await http("DELETE", f"/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}")
    _, document = await http("GET", "/openapi/v2")
    assert FLUNDERS not in document["paths"]
    await other.settled()
