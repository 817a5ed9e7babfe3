import pytest

from wherry.api.errors import Forbidden, NotFound
from wherry.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, TABLE
from wherry.apiserver.attributes import Attributes, UserInfo
from wherry.apiserver.authz.escalation import validate_binding, validate_role
from wherry.apiserver.authz.messages import forbidden
from wherry.apiserver.authz.rbac import RBAC
from wherry.apiserver.authz.union import UnionAuthorizer
from wherry.apiserver.bootstrap.defaults import rbac_objects

ALICE = UserInfo("alice", ("devs", "system:authenticated"))
RBAC_GROUP = "rbac.authorization.k8s.io"


def role(name, *rules, namespace=None):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "rules": list(rules)}


def rule(verbs, resources, groups=("",), names=()):
    made = {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)}
    return {**made, **({"resourceNames": list(names)} if names else {})}


def binding(name, role_name, *subjects, namespace=None, kind="ClusterRole"):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    ref = {"apiGroup": RBAC_GROUP, "kind": kind, "name": role_name}
    return {"metadata": metadata, "roleRef": ref, "subjects": list(subjects)}


def user(name):
    return {"kind": "User", "name": name, "apiGroup": RBAC_GROUP}


def group(name):
    return {"kind": "Group", "name": name, "apiGroup": RBAC_GROUP}


def ask(verb, resource, *, by=ALICE, namespace="ns", name="", sub="", api_group=""):
    return Attributes(by, verb, api_group, "v1", resource, sub, namespace, name)


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        (rule(["get"], ["pods"]), ask("get", "pods"), True),
        (rule(["get"], ["pods"]), ask("list", "pods"), False),
        (rule(["get"], ["pods"]), ask("get", "pods", sub="log"), False),
        (rule(["get"], ["pods/log"]), ask("get", "pods", sub="log"), True),
        (rule(["get"], ["*/scale"], ["*"]), ask("get", "deployments", sub="scale", api_group="apps"), True),
        (rule(["get"], ["*"]), ask("get", "pods", sub="exec"), True),
        (rule(["*"], ["pods"]), ask("deletecollection", "pods"), True),
        (rule(["get"], ["pods"], ["apps"]), ask("get", "pods"), False),
        (rule(["get"], ["pods"], names=["a"]), ask("get", "pods", name="a"), True),
        (rule(["get"], ["pods"], names=["a"]), ask("get", "pods", name="b"), False),
        (rule(["get"], ["pods"], names=["a"]), ask("get", "pods"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]}, Attributes(ALICE, "get", path="/healthz/x"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}, Attributes(ALICE, "get", path="/healthz/x"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, Attributes(ALICE, "post", path="/x"), False),
    ],
)
def test_a_rule_allows_what_it_names(reader, given, asked, allowed):
    reader.put(CLUSTERROLES, role("r", given))
    reader.put(CLUSTERROLEBINDINGS, binding("b", "r", group("devs")))
    decision = RBAC(reader).authorize(asked)
    assert decision.allowed is allowed
    assert decision.reason == (
        'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "devs"' if allowed else ""
    )


def test_a_role_binding_counts_in_its_namespace_only_and_binds_service_accounts_of_any(reader):
    reader.put(ROLES, role("r", rule(["get"], ["pods"]), namespace="ns"))
    account = {"kind": "ServiceAccount", "name": "bot", "namespace": "other"}
    reader.put(ROLEBINDINGS, binding("b", "r", account, namespace="ns", kind="Role"))
    rbac, bot = RBAC(reader), UserInfo("system:serviceaccount:other:bot")
    assert rbac.authorize(ask("get", "pods", by=bot)).reason == (
        'RBAC: allowed by RoleBinding "b/ns" of Role "r" to ServiceAccount "bot/other"'
    )
    assert not rbac.authorize(ask("get", "pods", by=bot, namespace="other")).allowed
    assert not rbac.authorize(ask("get", "pods", by=bot, namespace="")).allowed


def test_answers_are_remembered_until_a_role_or_binding_changes(reader):
    rbac = RBAC(reader)
    assert not rbac.authorize(ask("get", "pods", name="x")).allowed
    before = reader.reads
    for name in ("x", "y", "z"):
        assert not rbac.authorize(ask("get", "pods", name=name)).allowed
    assert reader.reads == before
    reader.put(CLUSTERROLEBINDINGS, binding("b", "r", user("alice")))
    assert rbac.authorize(ask("get", "pods")).reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "r" not found'
    reader.put(CLUSTERROLES, role("r", rule(["get"], ["pods"])))
    assert rbac.authorize(ask("get", "pods", name="x")).allowed
    reader.remove(CLUSTERROLEBINDINGS, "", "b")
    assert not rbac.authorize(ask("get", "pods", name="x")).allowed


def test_masters_may_do_everything_without_a_rule(reader):
    assert UnionAuthorizer(reader).authorize(ask("x", "y", by=UserInfo("root", ("system:masters",)))).allowed


def test_refusals_are_worded_as_upstream_words_them():
    assert forbidden(ask("list", "pods")).message == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "ns"'
    )
    named = forbidden(ask("get", "deployments", name="x", sub="scale", api_group="apps", namespace=""), "why")
    assert named.message == (
        'deployments.apps "x" is forbidden: User "alice" cannot get resource "deployments/scale" in API group "apps" '
        "at the cluster scope: why"
    )
    assert named.details == {"name": "x", "group": "apps", "kind": "deployments"}
    path = forbidden(Attributes(ALICE, "get", path="/metrics"))
    assert (path.message, path.details) == ('forbidden: User "alice" cannot get path "/metrics"', {})


@pytest.fixture
def cluster(reader):
    for obj in rbac_objects():
        reader.put(TABLE.for_object(obj["apiVersion"], obj["kind"]), obj)
    manager = rule(["get", "list", "create"], ["roles", "rolebindings"], [RBAC_GROUP])
    reader.put(ROLES, role("mgr", manager, namespace="ns"))
    reader.put(ROLEBINDINGS, binding("mgr", "mgr", user("alice"), namespace="ns", kind="Role"))
    return reader


def test_a_role_beyond_what_is_held_is_refused_with_what_is_missing(cluster):
    authorizer = UnionAuthorizer(cluster)
    wanted = role("more", rule(["get", "list"], ["secrets", "pods"]), namespace="ns")
    with pytest.raises(Forbidden) as refusal:
        validate_role(ROLES, wanted, None, ALICE, authorizer.rbac, authorizer)
    assert refusal.value.message == (
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "alice" (groups=["devs" "system:authenticated"]) is '
        'attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["get" '
        '"list"]}\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )
    validate_role(ROLES, wanted, wanted, ALICE, authorizer.rbac, authorizer)
    held = role("same", rule(["get"], ["roles"], [RBAC_GROUP], ["one"]), namespace="ns")
    validate_role(ROLES, held, None, ALICE, authorizer.rbac, authorizer)
    validate_role(ROLES, wanted, None, UserInfo("root", ("system:masters",)), authorizer.rbac, authorizer)


def test_an_aggregation_rule_needs_full_authority(cluster):
    authorizer = UnionAuthorizer(cluster)
    wanted = {**role("agg"), "aggregationRule": {"clusterRoleSelectors": []}}
    with pytest.raises(Forbidden, match="must have cluster-admin privileges to use an aggregationRule"):
        validate_role(CLUSTERROLES, wanted, None, ALICE, authorizer.rbac, authorizer)
    cluster.put(CLUSTERROLEBINDINGS, binding("boss", "cluster-admin", user("alice")))
    validate_role(CLUSTERROLES, wanted, None, ALICE, authorizer.rbac, authorizer)


def test_a_binding_needs_the_permissions_of_its_role_or_the_verb_bind(cluster):
    authorizer = UnionAuthorizer(cluster)
    with pytest.raises(Forbidden, match='"up" is forbidden'):
        validate_binding(
            ROLEBINDINGS, binding("up", "view", user("bob"), namespace="ns"), None, ALICE, authorizer.rbac, authorizer
        )
    with pytest.raises(NotFound) as missing:
        validate_binding(
            ROLEBINDINGS,
            binding("up", "nothing", user("bob"), namespace="ns", kind="Role"),
            None,
            ALICE,
            authorizer.rbac,
            authorizer,
        )
    assert missing.value.message == 'rolebindings.rbac.authorization.k8s.io "nothing" not found'
    cluster.put(CLUSTERROLES, role("binder", rule(["bind"], ["clusterroles"], [RBAC_GROUP], ["view"])))
    cluster.put(ROLEBINDINGS, binding("binder", "binder", user("alice"), namespace="ns"))
    up = binding("up", "view", user("bob"), namespace="ns")
    validate_binding(ROLEBINDINGS, up, None, ALICE, authorizer.rbac, authorizer)


def test_rules_for_lists_what_a_user_may_do(cluster):
    found = UnionAuthorizer(cluster).rules_for(ALICE, "ns")
    assert {
        "verbs": ["get", "list", "create"],
        "apiGroups": [RBAC_GROUP],
        "resources": ["roles", "rolebindings"],
    } in found.resource
    assert any("/version" in each["nonResourceURLs"] for each in found.non_resource)
    assert not found.incomplete
