"""Who may write which part of a ResourceClaim's status, and where devices may be administrated."""

from typing import Any

import pytest

from wherry.api.resources import NAMESPACES, RESOURCECLAIMS, Resource
from wherry.apiserver.attributes import Attributes, Decision, UserInfo
from wherry.apiserver.authn.token import NODE_NAME
from wherry.apiserver.request import Request
from wherry.apiserver.strategies.claims import ADMIN_LABEL, claim_hook

DRIVER = UserInfo("system:serviceaccount:dra:driver", extra={NODE_NAME: ["n1"]})
ALLOCATED = {
    "nodeSelector": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]
    },
}
STATE = {"driver": "gpu.example.com", "pool": "p", "device": "d"}


class Cluster:
    """One namespace, and what is allowed: verb, subresource, namespace, name."""

    def __init__(self, *allowed: tuple[str, str, str, str], admin: bool = False) -> None:
        self.allowed = set(allowed)
        self.labels = {ADMIN_LABEL: "true"} if admin else {}

    def authorize(self, asked: Attributes) -> Decision:
        return Decision((asked.verb, asked.subresource, asked.namespace, asked.name) in self.allowed, "no")

    def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        assert resource is NAMESPACES and name == "ns"
        return {"metadata": {"labels": self.labels}}


def told(
    cluster: Any, new: dict[str, Any], old: dict[str, Any] | None, *, sub: str = "", user: UserInfo = DRIVER
) -> Any:
    check = claim_hook(cluster, cluster).check
    assert check is not None
    request = Request("update" if old is not None else "create", RESOURCECLAIMS, "ns", "c", sub, user)
    return [f"{error.field}: {error.text}" for error in check(request, new, old)]


def test_allocating_needs_a_permission_across_namespaces() -> None:
    new = {"status": {"allocation": ALLOCATED}}
    assert told(Cluster(("update", "binding", "", "")), new, {}, sub="status") == []
    assert told(Cluster(("update", "binding", "ns", "c")), new, {}, sub="status") == [
        "status: Forbidden: changing status.allocation or status.reservedFor requires "
        'resource="resourceclaims/binding", verb="update" permission: '
        f'resourceclaims.resource.k8s.io is forbidden: User "{DRIVER.name}" cannot update resource '
        '"resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope: no'
    ]
    assert told(Cluster(), new, new, sub="status") == [], "what stays as it was needs none"


@pytest.mark.parametrize(
    ("user", "allowed", "verbs"),
    [
        (DRIVER, "associated-node:update", None),
        (DRIVER, "arbitrary-node:update", None),
        (DRIVER, "update", "[associated-node:update arbitrary-node:update]"),
        (UserInfo("ann"), "associated-node:update", "[arbitrary-node:update]"),
        (UserInfo(DRIVER.name, extra={NODE_NAME: ["n2"]}), "associated-node:update", "[arbitrary-node:update]"),
        (UserInfo("ann"), "arbitrary-node:update", None),
    ],
)
def test_a_driver_speaks_for_its_devices_on_its_node(user: UserInfo, allowed: str, verbs: str | None) -> None:
    cluster = Cluster((allowed, "driver", "ns", "gpu.example.com"))
    old = {"status": {"allocation": ALLOCATED}}
    new = {"status": {"allocation": ALLOCATED, "devices": [STATE]}}
    for obj, before in ((new, old), (old, new)):
        found = told(cluster, obj, before, sub="status", user=user)
        assert len(found) == (verbs is not None)
        assert verbs is None or found[0].startswith(
            'status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", '
            f'verb="{verbs}" permission: resourceclaims.resource.k8s.io "gpu.example.com" is forbidden: '
        )


def test_devices_are_administrated_in_labelled_namespaces() -> None:
    claim = {"spec": {"devices": {"requests": [{"name": "a"}, {"name": "b", "exactly": {"adminAccess": True}}]}}}
    assert told(Cluster(admin=True), claim, None) == []
    assert told(Cluster(), claim, None) == [
        "spec.devices.requests[1].adminAccess: Forbidden: admin access to devices requires the "
        "`resource.kubernetes.io/admin-access: true` label on the containing namespace"
    ]
    assert told(Cluster(), claim, claim) == []
    status = {"status": {"allocation": {"devices": {"results": [{"adminAccess": True}]}}}}
    found = told(Cluster(("update", "binding", "", "")), status, {}, sub="status")
    assert [error.partition(":")[0] for error in found] == ["status.allocation.devices.results[0].adminAccess"]
