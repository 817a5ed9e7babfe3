"""Reviews are creates: what the frame of every create does to metadata it does to theirs."""

from tests.component.apiserver.conftest import Http

_GROUP = "/apis/authorization.k8s.io/v1"
_SPEC = {"user": "u", "resourceAttributes": {"namespace": "default", "verb": "get"}}


async def test_a_local_review_is_put_into_its_namespace(http: Http) -> None:
    path = f"{_GROUP}/namespaces/default/localsubjectaccessreviews"
    code, review = await http("POST", path, {"spec": _SPEC})
    assert (code, review["metadata"]) == (201, {"namespace": "default"})
    code, status = await http("POST", path, {"metadata": {"namespace": "other"}, "spec": _SPEC})
    mismatch = "the namespace of the provided object does not match the namespace sent on the request"
    assert (code, status["message"]) == (400, mismatch)


async def test_a_review_loses_what_the_system_sets_before_it_is_checked(http: Http) -> None:
    given = {"uid": "u", "creationTimestamp": "2020-01-01T00:00:00Z", "namespace": "default"}
    code, review = await http("POST", f"{_GROUP}/subjectaccessreviews", {"metadata": given, "spec": _SPEC})
    assert (code, review["metadata"]) == (201, {})


async def test_a_token_is_not_bound_to_an_object_without_a_name(http: Http) -> None:
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "a"}})
    spec = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod"}}
    code, status = await http("POST", "/api/v1/namespaces/default/serviceaccounts/a/token", {"spec": spec})
    assert (code, status["message"]) == (400, "Name parameter required.")
