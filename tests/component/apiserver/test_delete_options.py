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


_ALONE = "ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: cannot be set together with"
_SCHEME = 'in scheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:30"'


@pytest.mark.parametrize(
    ("query", "options", "code", "message"),
    [
        ("uid=x", None, 409, "the UID in the precondition (x) does not match"),
        ("resourceVersion=1", None, 409, "the ResourceVersion in the precondition (1) does not match"),
        ("uid=&resourceVersion=", None, 200, ""),
        ("uid=x", {}, 200, ""),
        ("ignoreStoreReadErrorWithClusterBreakingPotential=true&dryRun=All", None, 422, f"{_ALONE} .dryRun"),
        (
            "",
            {"ignoreStoreReadErrorWithClusterBreakingPotential": True, "gracePeriodSeconds": 0, "preconditions": {}},
            422,
            f"{_ALONE} .gracePeriodSeconds",
        ),
        ("", {"ignoreStoreReadErrorWithClusterBreakingPotential": False, "gracePeriodSeconds": 0}, 200, ""),
        ("", {"apiVersion": "foo.example/v9", "kind": "DeleteOptions"}, 200, ""),
        ("", {"kind": "Pod"}, 400, f'no kind "Pod" is registered for version "meta.k8s.io/v1" {_SCHEME}'),
        ("", {"apiVersion": "a/b/c"}, 400, "unexpected GroupVersion string: a/b/c"),
    ],
)
async def test_what_delete_options_may_say(
    http: Http, query: str, options: dict[str, object] | None, code: int, message: str
) -> None:
    await http("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    found, status = await http("DELETE", f"{CONFIGMAPS}/a?{query}", options)
    assert found == code
    assert message in status.get("message", "")


async def test_the_version_of_a_list_is_a_precondition_of_deleting_it_without_a_body(http: Http) -> None:
    await http("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    assert (await http("DELETE", f"{CONFIGMAPS}?resourceVersion=0"))[0] == 409
    assert (await http("DELETE", f"{CONFIGMAPS}?resourceVersion=0", {}))[0] == 200


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("continue=x", "continue key is not valid: illegal base64 data at input byte 0"),
        ("continue=foo", "continue key is not valid: invalid character '~' looking for beginning of value"),
        ("continue=WzFd", "continue key is not valid: json: cannot unmarshal array into Go value of type storage."),
        ("continue=bnVsbA", "continue key is not valid: server does not recognize this encoded version"),
        ("resourceVersion=1&continue=TOKEN", "specifying resource version is not allowed when using continue"),
    ],
)
async def test_continue_tokens_that_cannot_be_used(http: Http, query: str, message: str) -> None:
    for name in "ab":
        await http("POST", CONFIGMAPS, {"metadata": {"name": name}})
    _, page = await http("GET", f"{CONFIGMAPS}?limit=1")
    token = page["metadata"]["continue"]
    code, status = await http("GET", f"{CONFIGMAPS}?limit=1&{query.replace('TOKEN', token)}")
    assert code == 400 and message in status["message"]
    _, whole = await http("GET", f"{CONFIGMAPS}?limit=1&resourceVersion=0&resourceVersionMatch=NotOlderThan")
    assert len(whole["items"]) == 2, "what the cache holds comes whole"
