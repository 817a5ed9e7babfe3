"""What a kubelet may write, and what it may not."""

from collections.abc import Sequence
from typing import Any

import pytest

from wherry.api.errors import Forbidden, NotFound
from wherry.api.resources import LEASES, NODES, PERSISTENTVOLUMECLAIMS, PODS, SERVICEACCOUNTS, Resource
from wherry.apiserver.admission.noderestriction import NodeRestriction
from wherry.apiserver.admission.plugin import CREATE, DELETE, UPDATE, Operation
from wherry.apiserver.attributes import Attributes, Decision, Follower, UserInfo

NODE = UserInfo("system:node:n1", ("system:nodes",))
TOKEN_VOLUME = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
POD = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
    "spec": {"nodeName": "n1", "serviceAccountName": "default", "volumes": [TOKEN_VOLUME]},
}


class Objects:
    def __init__(self, **objects: dict[str, Any]) -> None:
        self._objects = objects

    def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any] | None:
        return self._objects.get(resource.plural)

    def list(self, resource: Resource, namespace: str | None = None) -> Sequence[dict[str, Any]]:
        return ()

    def version(self, resource: Resource) -> int:
        return 0

    def follow(self, resource: Resource, follower: Follower) -> None:
        raise NotImplementedError


class Granting:
    """Allows nodes to request one audience for a service account, and nothing else."""

    def authorize(self, a: Attributes) -> Decision:
        asked = (a.verb, a.resource, a.namespace, a.name)
        return Decision(asked == ("request-serviceaccounts-token-audience", "granted", "ns", "default"))


async def admit(
    kind: str,
    resource: Resource,
    *,
    name: str = "n1",
    sub: str = "",
    namespace: str = "",
    user: UserInfo = NODE,
    obj: dict[str, Any] | None = None,
    old: dict[str, Any] | None = None,
    **objects: dict[str, Any],
) -> str:
    """Return why an operation is refused, nothing when it is allowed."""
    plugin = NodeRestriction(Objects(**objects), Granting())
    operation = Operation(kind, resource, sub, namespace, name, user, obj=obj, old=old)
    if plugin.handles(operation):
        try:
            plugin.admit(operation)
        except Forbidden as error:
            return error.message.partition("is forbidden: ")[2]
    return ""


def node(name: str = "n1", taints: list[Any] | None = None, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints or []}}


def token(uid: str = "u", kind: str = "Pod", audiences: Sequence[str] = ()) -> dict[str, Any]:
    ref = {"apiVersion": "v1", "kind": kind, "name": "p", "uid": uid}
    return {"spec": {"boundObjectRef": ref, "audiences": list(audiences)}}


async def test_others_are_not_looked_at() -> None:
    assert await admit(UPDATE, NODES, name="n2", obj=node("n2"), old=node("n2"), user=UserInfo("jane")) == ""


async def test_only_its_own_node() -> None:
    assert await admit(UPDATE, NODES, obj=node(), old=node()) == ""
    refused = await admit(UPDATE, NODES, name="n2", obj=node("n2"), old=node("n2"))
    assert refused == 'node "n1" is not allowed to modify node "n2"'
    assert await admit(UPDATE, NODES, obj=node(taints=[{"key": "k"}]), old=node()) == (
        'node "n1" is not allowed to modify taints'
    )


@pytest.mark.parametrize(
    ("label", "allowed"),
    [
        ("kubernetes.io/hostname", True),
        ("example.com/x", True),
        ("plain", True),
        ("kubelet.kubernetes.io/x", True),
        ("a.node.kubernetes.io/x", True),
        ("node-role.kubernetes.io/control-plane", False),
        ("node-restriction.kubernetes.io/x", False),
        ("foo.node-restriction.kubernetes.io/x", False),
        ("other.k8s.io/x", False),
    ],
)
async def test_labels_that_steer_workloads_are_not_its_own(label: str, allowed: bool) -> None:
    assert (await admit(CREATE, NODES, obj=node(**{label: "v"})) == "") is allowed
    assert (await admit(UPDATE, NODES, obj=node(), old=node(**{label: "v"})) == "") is allowed


async def test_pods_bound_to_it_only() -> None:
    other = {**POD, "spec": {"nodeName": "n2"}}
    assert await admit(DELETE, PODS, name="p", old=POD) == ""
    assert await admit(DELETE, PODS, name="p", old=other) == (
        'node "n1" can only delete pods with spec.nodeName set to itself'
    )
    assert await admit(CREATE, PODS, name="p", sub="eviction", obj={}, pods=POD) == ""
    assert "can only evict" in await admit(CREATE, PODS, name="p", sub="eviction", obj={}, pods=other)
    assert await admit(UPDATE, PODS, name="p", sub="status", obj=POD, old=POD) == ""
    assert "can only update pod status" in await admit(UPDATE, PODS, name="p", sub="status", obj=other, old=other)
    relabelled = {**POD, "metadata": {**POD["metadata"], "labels": {"a": "b"}}}
    assert "cannot update labels" in await admit(UPDATE, PODS, name="p", sub="status", obj=relabelled, old=POD)
    assert await admit(UPDATE, PODS, name="p", obj=POD, old=POD) == (
        'unexpected operation "UPDATE", node "n1" can only create and delete mirror pods'
    )
    assert "unexpected pod subresource" in await admit(UPDATE, PODS, name="p", sub="binding", obj=POD, old=POD)


async def test_mirror_pods_refer_to_nothing_but_the_node() -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "nu", "controller": True}
    mirror = {
        "metadata": {
            "name": "p",
            "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
    }
    own = {"metadata": {"name": "n1", "uid": "nu"}}
    assert await admit(CREATE, PODS, obj=mirror, nodes=own) == ""
    assert "can only create mirror pods" in await admit(CREATE, PODS, obj=POD, nodes=own)
    env = [{"name": "e", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    spec = {"nodeName": "n1", "containers": [{"name": "c", "env": env}]}
    assert "reference secrets" in await admit(CREATE, PODS, obj={**mirror, "spec": spec}, nodes=own)
    spec = {"nodeName": "n1", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}
    assert "persistentvolumeclaims" in await admit(CREATE, PODS, obj={**mirror, "spec": spec}, nodes=own)
    assert "UID mismatch" in await admit(CREATE, PODS, obj=mirror, nodes={"metadata": {"name": "n1", "uid": "x"}})


async def test_tokens_are_for_pods_on_the_node() -> None:
    asked = {"name": "default", "sub": "token", "namespace": "ns"}
    assert await admit(CREATE, SERVICEACCOUNTS, obj=token(), pods=POD, **asked) == ""
    unbound = await admit(CREATE, SERVICEACCOUNTS, obj={"spec": {}}, pods=POD, **asked)
    assert unbound == "node requested token not bound to a pod"
    assert "does not match the UID" in await admit(CREATE, SERVICEACCOUNTS, obj=token("z"), pods=POD, **asked)
    elsewhere = {**POD, "spec": {"nodeName": "n2"}}
    assert "different node" in await admit(CREATE, SERVICEACCOUNTS, obj=token(), pods=elsewhere, **asked)
    with pytest.raises(NotFound):
        await admit(CREATE, SERVICEACCOUNTS, obj=token(), **asked)


async def test_tokens_are_for_audiences_that_the_pod_names_or_that_are_granted() -> None:
    asked = {"name": "default", "sub": "token", "namespace": "ns"}

    async def ask(*audiences: str, volume: dict[str, Any] = TOKEN_VOLUME, **objects: dict[str, Any]) -> str:
        pod = {**POD, "spec": {**POD["spec"], "volumes": [volume]}}
        return await admit(CREATE, SERVICEACCOUNTS, obj=token(audiences=audiences), pods=pod, **asked, **objects)

    assert await ask() == ""
    why = "not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"
    assert await ask("vault") == f'audience "vault" {why}'
    assert await ask(volume={"name": "e", "emptyDir": {}}) == f'audience "" {why}'
    assert await ask("granted") == ""
    assert await ask("a", "b") == "node may only request 0 or 1 audiences"
    driver = {"metadata": {"name": "d"}, "spec": {"tokenRequests": [{"audience": "vault"}]}}
    assert await ask("vault", volume={"name": "v", "csi": {"driver": "d"}}, csidrivers=driver) == ""
    claimed = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    bound = {"persistentvolumeclaims": {"spec": {"volumeName": "pv"}}, "csidrivers": driver}
    assert await ask("vault", volume=claimed, persistentvolumes={"spec": {"csi": {"driver": "d"}}}, **bound) == ""
    assert "not found" in await ask("vault", volume=claimed, persistentvolumes={"spec": {"nfs": {}}}, **bound)


async def test_leases_and_claims() -> None:
    assert await admit(CREATE, LEASES, namespace="kube-node-lease", obj=node()) == ""
    assert "same name" in await admit(CREATE, LEASES, name="n2", namespace="kube-node-lease", obj=node("n2"))
    assert "system namespace" in await admit(CREATE, LEASES, namespace="default", obj=node())
    claim = {"metadata": {"name": "c"}, "spec": {}, "status": {"capacity": {"storage": "1Gi"}}}
    asked = {"name": "c", "sub": "status", "namespace": "ns"}
    grown = {**claim, "status": {"capacity": {"storage": "2Gi"}}}
    assert await admit(UPDATE, PERSISTENTVOLUMECLAIMS, obj=grown, old=claim, **asked) == ""
    renamed = {**claim, "status": {**claim["status"], "phase": "Lost"}}
    assert "not allowed to update fields" in await admit(
        UPDATE, PERSISTENTVOLUMECLAIMS, obj=renamed, old=claim, **asked
    )
