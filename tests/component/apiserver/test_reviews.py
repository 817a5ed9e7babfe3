"""Reviews are creates: what the frame of every create does to metadata it does to theirs."""

from typing import Any

import pytest

from tests.component.apiserver.conftest import Http

_GROUP = "/apis/authorization.k8s.io/v1"
_SPEC = {"user": "u", "resourceAttributes": {"namespace": "default", "verb": "get"}}


def unmanaged(review: Any) -> Any:
    return {name: value for name, value in review["metadata"].items() if name != "managedFields"}


async def test_a_local_review_is_put_into_its_namespace(http: Http) -> None:
    path = f"{_GROUP}/namespaces/default/localsubjectaccessreviews"
    code, review = await http("POST", path, {"spec": _SPEC})
    assert (code, unmanaged(review)) == (201, {"namespace": "default"})
    code, status = await http("POST", path, {"metadata": {"namespace": "other"}, "spec": _SPEC})
    mismatch = "the namespace of the provided object does not match the namespace sent on the request"
    assert (code, status["message"]) == (400, mismatch)


async def test_a_review_loses_what_the_system_sets_before_it_is_checked(http: Http) -> None:
    given = {"uid": "u", "creationTimestamp": "2020-01-01T00:00:00Z", "namespace": "default"}
    code, review = await http("POST", f"{_GROUP}/subjectaccessreviews", {"metadata": given, "spec": _SPEC})
    assert (code, unmanaged(review)) == (201, {})


async def test_a_token_is_not_bound_to_an_object_without_a_name(http: Http) -> None:
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "a"}})
    spec = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod"}}
    code, status = await http("POST", "/api/v1/namespaces/default/serviceaccounts/a/token", {"spec": spec})
    assert (code, status["message"]) == (400, "Name parameter required.")


_ATTRIBUTES: dict[str, Any] = {"f:resourceAttributes": {".": {}, "f:namespace": {}, "f:verb": {}}}


@pytest.mark.parametrize(
    ("path", "spec", "fields"),
    [
        (f"{_GROUP}/subjectaccessreviews", _SPEC, {**_ATTRIBUTES, "f:user": {}}),
        (f"{_GROUP}/namespaces/default/localsubjectaccessreviews", _SPEC, {**_ATTRIBUTES, "f:user": {}}),
        (f"{_GROUP}/selfsubjectaccessreviews", {"resourceAttributes": _SPEC["resourceAttributes"]}, _ATTRIBUTES),
        (f"{_GROUP}/selfsubjectrulesreviews", {"namespace": "default"}, None),
        ("/apis/authentication.k8s.io/v1/tokenreviews", {"token": "secret"}, {"f:token": {}}),
        ("/apis/authentication.k8s.io/v1/selfsubjectreviews", None, None),
        ("/api/v1/namespaces/default/serviceaccounts/a/token", {}, {"f:expirationSeconds": {}}),
    ],
)
async def test_a_review_that_answers_with_what_was_asked_tells_who_asked(
    http: Http, path: str, spec: Any, fields: Any
) -> None:
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "a"}})
    asked = {} if spec is None else {"spec": spec, "status": {}}
    code, review = await http("POST", path, asked, User_Agent="maker/1")
    assert code == 201
    entries = review["metadata"].get("managedFields")
    if fields is None:
        assert entries is None
        return
    assert [(entry["manager"], entry["fieldsV1"]) for entry in entries] == [("maker", {"f:spec": fields})]
    assert entries[0].get("subresource") == ("token" if path.endswith("/token") else None)
