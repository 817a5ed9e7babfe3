import pytest

from wherry.api.errors import BadRequest, Forbidden
from wherry.apiserver.attributes import Attributes, Decision, UserInfo
from wherry.apiserver.authn.impersonation import impersonate, wanted

ALICE = UserInfo("alice")


class Allowing:
    """An authorizer that allows the (verb, resource, name) of a set, and keeps what it was asked."""

    def __init__(self, *allowed):
        self.allowed, self.asked = set(allowed), []

    def authorize(self, attributes):
        asked = (attributes.verb, attributes.resource or attributes.path, attributes.name)
        self.asked.append(asked)
        return Decision(asked in self.allowed)


LIST = Attributes(ALICE, "list", resource="pods", namespace="ns")


def test_headers_make_an_identity():
    headers = [
        ("impersonate-user", "bob"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"),
        ("Impersonate-Uid", "u"), ("Impersonate-Extra-Scopes%2fX", "1"), ("Accept", "x"),
    ]  # fmt: skip
    assert wanted(headers) == UserInfo("bob", ("a", "b"), "u")
    assert wanted(headers).extra == {"scopes/x": ["1"]}
    assert wanted([("Accept", "x")]) is None
    with pytest.raises(BadRequest, match="without impersonating a user name"):
        wanted([("Impersonate-Group", "a")])


def test_the_older_way_needs_impersonate_on_every_part():
    target = UserInfo("bob", ("devs",), "u", {"team": ["red"]})
    parts = [("users", "bob"), ("groups", "devs"), ("userextras", "red"), ("uids", "u")]
    user = impersonate(ALICE, target, LIST, Allowing(*(("impersonate", *part) for part in parts)))
    assert (user.name, user.groups, user.uid) == ("bob", ("devs", "system:authenticated"), "u")
    for left_out in parts:
        allowing = Allowing(*(("impersonate", *part) for part in parts if part != left_out))
        with pytest.raises(Forbidden) as refusal:
            impersonate(ALICE, target, LIST, allowing)
        assert refusal.value.message == (
            'pods is forbidden: User "alice" cannot impersonate-on:user-info:list resource "pods" in API group "" '
            'in the namespace "ns"'
        )


def test_the_constrained_way_needs_the_identity_and_the_deed():
    on, identity = ("impersonate-on:user-info:list", "pods", ""), ("impersonate:user-info", "users", "bob")
    assert impersonate(ALICE, UserInfo("bob"), LIST, Allowing(on, identity)).name == "bob"
    with pytest.raises(Forbidden, match='"bob" is forbidden'):
        impersonate(ALICE, UserInfo("bob"), LIST, Allowing(on))
    with pytest.raises(Forbidden):
        impersonate(ALICE, UserInfo("bob"), LIST, Allowing(identity))


def test_a_service_account_brings_its_groups():
    target = UserInfo("system:serviceaccount:ns:bot")
    user = impersonate(ALICE, target, LIST, Allowing(("impersonate", "serviceaccounts", "bot")))
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")


def test_a_node_brings_its_group_only_in_the_constrained_way():
    target = UserInfo("system:node:n1")
    constrained = Allowing(
        ("impersonate-on:arbitrary-node:list", "pods", ""), ("impersonate:arbitrary-node", "nodes", "n1")
    )
    assert impersonate(ALICE, target, LIST, constrained).groups == ("system:nodes", "system:authenticated")
    older = Allowing(("impersonate", "users", "system:node:n1"))
    assert impersonate(ALICE, target, LIST, older).groups == ("system:authenticated",)


def test_a_node_agent_acts_as_its_own_node_only():
    extra = {"authentication.kubernetes.io/node-name": ["n1"]}
    agent = UserInfo("system:serviceaccount:ns:agent", extra=extra)
    allowing = Allowing(
        ("impersonate-on:associated-node:list", "pods", ""), ("impersonate:associated-node", "nodes", "*")
    )
    assert impersonate(agent, UserInfo("system:node:n1"), LIST, allowing).name == "system:node:n1"
    with pytest.raises(Forbidden):
        impersonate(agent, UserInfo("system:node:n2"), LIST, allowing)


def test_anonymous_is_never_authenticated():
    user = impersonate(
        ALICE, UserInfo("system:anonymous"), LIST, Allowing(("impersonate", "users", "system:anonymous"))
    )
    assert user.groups == ("system:unauthenticated",)
