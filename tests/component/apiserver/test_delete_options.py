"""Options of a deletion in the forms that clients send them in."""

import json

import pytest
from aiohttp import ClientSession

from tests.component.apiserver.conftest import Http
from wherry.api import protobuf, schema
from wherry.apiserver.server import ApiServer

_KIND = {"apiVersion": "v1", "kind": "DeleteOptions"}
_PROTOBUF = "application/vnd.kubernetes.protobuf"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


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
