import pytest

from wherry.api.errors import BadRequest, Invalid
from wherry.apiserver.attributes import UserInfo
from wherry.apiserver.authz import reviews
from wherry.apiserver.authz.union import UnionAuthorizer

ROOT, ALICE = UserInfo("root", ("system:masters",)), UserInfo("alice")
PODS = {"namespace": "ns", "verb": "get", "resource": "pods"}


@pytest.fixture
def authorizer(reader):
    return UnionAuthorizer(reader)


def test_who_may_and_who_may_not(authorizer):
    asked = {"spec": {"resourceAttributes": PODS}}
    assert reviews.review_self(authorizer, ROOT, asked) == {**asked, "status": {"allowed": True}}
    assert reviews.review_self(authorizer, ALICE, asked)["status"] == {"allowed": False}
    other = {"spec": {"resourceAttributes": PODS, "groups": ["system:masters"]}}
    assert reviews.review_subject(authorizer, other)["status"]["allowed"]
    assert reviews.review_local_subject(authorizer, "ns", {**other, "metadata": {"namespace": "ns"}})["status"][
        "allowed"
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {},
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes "
            "must be specified",
        ),
        (
            {"resourceAttributes": {**PODS, "fieldSelector": {"rawSelector": "a=b", "requirements": [{"key": "a"}]}}},
            'spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: "a=b": may not specified at the same '
            "time as requirements",
        ),
    ],
)
def test_what_is_wrong_is_said_as_upstream_says_it(authorizer, spec, message):
    with pytest.raises(Invalid) as refusal:
        reviews.review_self(authorizer, ROOT, {"spec": spec})
    assert refusal.value.message == f'.authorization.k8s.io "" is invalid: {message}'
    assert refusal.value.details["group"] == "authorization.k8s.io" and "kind" not in refusal.value.details


def test_a_subject_and_a_fitting_namespace_are_required(authorizer):
    with pytest.raises(Invalid, match="at least one of user or group must be specified"):
        reviews.review_subject(authorizer, {"spec": {"resourceAttributes": PODS}})
    with pytest.raises(Invalid, match="must match metadata"):
        reviews.review_local_subject(authorizer, "other", {"spec": {"resourceAttributes": PODS, "user": "a"}})
    with pytest.raises(BadRequest, match="no namespace on request"):
        reviews.review_own_rules(authorizer, ALICE, {"spec": {}})
