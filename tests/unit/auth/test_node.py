import pytest

from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from wherry.apiserver.attributes import Attributes, UserInfo
from wherry.apiserver.authz.node import NodeAuthorizer

NODE = UserInfo("system:node:n1", ("system:nodes", "system:authenticated"))


def ask(verb, resource, *, name="", namespace="ns", group="", sub="", selector="", by=NODE):
    return Attributes(by, verb, group, "v1", resource, sub, namespace, name, field_selector=selector)


def pod(name="p", node="n1", **spec):
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"nodeName": node, "containers": [], **spec}}


VOLUMES = [
    {"name": "a", "secret": {"secretName": "s-volume"}},
    {"name": "b", "projected": {"sources": [{"configMap": {"name": "c-projected"}}]}},
    {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
    {"name": "d", "ephemeral": {}},
]
CONTAINERS = [{"name": "c", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s-env", "key": "k"}}}]}]


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("secrets", "s-volume"),
        ("secrets", "s-env"),
        ("configmaps", "c-projected"),
        ("persistentvolumeclaims", "claim"),
        ("persistentvolumeclaims", "p-d"),
        ("pods", "p"),
    ],
)
def test_a_node_reads_what_its_pods_name_while_they_are_there(reader, resource, name):
    authorizer = NodeAuthorizer(reader)
    asked = ask("get", resource, name=name)
    refusal = "no relationship found between node 'n1' and this object"
    assert authorizer.authorize(asked).reason == refusal
    reader.put(PODS, pod(node="n2", volumes=VOLUMES, containers=CONTAINERS))
    assert authorizer.authorize(asked).reason == refusal
    reader.put(PODS, pod(volumes=VOLUMES, containers=CONTAINERS))
    assert authorizer.authorize(asked).allowed
    reader.remove(PODS, "ns", "p")
    assert authorizer.authorize(asked).reason == refusal


def test_a_node_reaches_volumes_and_their_secrets_through_claims(reader):
    authorizer = NodeAuthorizer(reader)
    reader.put(PODS, pod(volumes=VOLUMES))
    reader.put(PERSISTENTVOLUMECLAIMS, {"metadata": {"name": "claim", "namespace": "ns"}, "spec": {"volumeName": "pv"}})
    csi = {"nodeStageSecretRef": {"name": "stage", "namespace": "infra"}}
    spec = {"claimRef": {"namespace": "ns", "name": "claim"}, "csi": csi}
    reader.put(PERSISTENTVOLUMES, {"metadata": {"name": "pv"}, "spec": spec})
    assert authorizer.authorize(ask("get", "persistentvolumes", name="pv", namespace="")).allowed
    assert not authorizer.authorize(ask("get", "persistentvolumes", name="other", namespace="")).allowed
    assert authorizer.authorize(ask("get", "secrets", name="stage", namespace="infra")).allowed
    assert not authorizer.authorize(ask("get", "secrets", name="other", namespace="infra")).allowed


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (ask("create", "secrets"), "can only read resources of this type"),
        (ask("list", "persistentvolumes", namespace=""), "can only get individual resources of this type"),
        (ask("get", "nodes", name="n1", namespace=""), True),
        (
            ask("get", "nodes", name="n2", namespace=""),
            "node 'n1' cannot read 'n2', only its own Node object",
        ),
        (ask("list", "nodes", selector="metadata.name=n1", namespace=""), True),
        (ask("watch", "pods", selector="spec.nodeName=n1", namespace=""), True),
        (ask("list", "pods", namespace=""), "can only list/watch pods with spec.nodeName field selector"),
        (ask("patch", "pods", name="p", sub="status"), True),
        (ask("create", "events"), True),
        (
            ask("update", "leases", group="coordination.k8s.io", namespace="kube-node-lease", name="n2"),
            "can only access node lease with the same name as the requesting node",
        ),
        (ask("update", "leases", group="coordination.k8s.io", namespace="kube-node-lease", name="n1"), True),
        (
            ask("create", "serviceaccounts", name="sa", sub="token"),
            "no relationship found between node 'n1' and this object",
        ),
        (ask("get", "deployments", group="apps", name="d"), ""),
        (ask("get", "secrets", name="s", by=UserInfo("system:node:n1")), ""),
    ],
)  # fmt: skip
def test_what_is_not_bound_to_pods(reader, asked, answer):
    decision = NodeAuthorizer(reader).authorize(asked)
    assert (decision.allowed or decision.reason) == answer


@pytest.mark.parametrize(
    ("verb", "name", "allowed"),
    [("create", "", True), ("update", "n1", True), ("get", "n2", False), ("list", "", False)],
)
def test_a_node_keeps_its_own_csinode_alone(reader, verb, name, allowed):
    asked = ask(verb, "csinodes", name=name, namespace="", group="storage.k8s.io")
    assert NodeAuthorizer(reader).authorize(asked).allowed == allowed
