"""Options of a deletion in the forms that clients send them in."""

import json

import pytest
from aiohttp import ClientSession

from tests.component.apiserver.conftest import Http
from wherry.api import protobuf, schema
from wherry.api.errors import ServiceUnavailable
from wherry.apiserver.api import Api
from wherry.apiserver.handlers import deletion
from wherry.apiserver.handlers.writing import remove
from wherry.apiserver.request import Request
from wherry.apiserver.server import ApiServer
from wherry.store.protocol import Record

_KIND = {"apiVersion": "v1", "kind": "DeleteOptions"}
_PROTOBUF = "application/vnd.kubernetes.protobuf"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


@pytest.mark.parametrize("form", ["application/json", _PROTOBUF])
@pytest.mark.parametrize(("uid", "code"), [("", 200), ("another", 409)])
async def test_delete_options_are_read_in_every_form(
    http: Http, server: ApiServer, form: str, uid: str, code: int
) -> None:
    await http("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    options = _KIND | ({"preconditions": {"uid": uid}} if uid else {})
    body = protobuf.encode(options, schema.load()) if form == _PROTOBUF else json.dumps(options).encode()
    assert body is not None
    headers = {"Authorization": "Bearer secret", "Content-Type": form}
    url = f"http://127.0.0.1:{server.port}{CONFIGMAPS}/a"
    async with ClientSession(headers=headers) as session, session.delete(url, data=body) as answer:
        assert answer.status == code, await answer.text()
    assert (await http("GET", f"{CONFIGMAPS}/a"))[0] == (404 if code == 200 else 200)


async def _running(http: Http) -> None:
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n", "automountServiceAccountToken": False}
    assert (await http("POST", PODS, {"metadata": {"name": "p"}, "spec": spec}))[0] == 201


async def test_a_pod_that_goes_by_a_write_of_its_kubelet_before_is_deleted(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(api: Api, request: Request, record: Record) -> Record:
        # Any write of an object that is marked to go at once ends it.
        late = {"status": {"message": "late"}}
        assert (await http("PATCH", f"{PODS}/p/status", late, Content_Type="application/merge-patch+json"))[0] == 200
        return await remove(api, request, record)

    await _running(http)
    monkeypatch.setattr(deletion, "remove", lose)
    code, answer = await http("DELETE", f"{PODS}/p?gracePeriodSeconds=0")
    assert (code, answer["kind"], answer["metadata"]["deletionGracePeriodSeconds"]) == (200, "Pod", 0)
    assert (await http("GET", f"{PODS}/p"))[0] == 404


async def test_a_pod_left_marked_to_go_at_once_goes_with_the_next_deletion(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(api: Api, request: Request, record: Record) -> Record:
        raise ServiceUnavailable("the store is away")

    await _running(http)
    monkeypatch.setattr(deletion, "remove", fail)
    assert (await http("DELETE", f"{PODS}/p?gracePeriodSeconds=0"))[0] == 503
    monkeypatch.setattr(deletion, "remove", remove)
    assert (await http("DELETE", f"{PODS}/p?gracePeriodSeconds=0"))[0] == 200
    assert (await http("GET", f"{PODS}/p"))[0] == 404
