"""Node authorization: a kubelet reads what the pods bound to its node need, and no more.

Rules: Kubernetes docs "Using Node Authorization". What is not subdivided here follows the rules of the ClusterRole
``system:node`` as Kubernetes ships it, whatever the stored one says.
"""

from collections.abc import Callable
from typing import Any

from wherry.api.resources import PERSISTENTVOLUMES, PODS, VOLUMEATTACHMENTS, builtin
from wherry.apiserver.attributes import Attributes, Decision, Reader, UserInfo
from wherry.apiserver.authz import rules
from wherry.apiserver.authz.podgraph import PodGraph
from wherry.apiserver.bootstrap.defaults import node_rules

NODES_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"
LEASE_NAMESPACE = "kube-node-lease"

RESOURCESLICES = builtin("resource.k8s.io", "v1", "resourceslices")

_ALLOWED = Decision(True)
_NO_OPINION = Decision(False)


def _no(reason: str) -> Decision:
    return Decision(False, reason)


def node_of(user: UserInfo) -> str | None:
    """Return the node that `user` is the kubelet of, None when it is not a node."""
    if user.name.startswith(NODE_PREFIX) and NODES_GROUP in user.groups:
        return user.name.removeprefix(NODE_PREFIX)
    return None


class NodeAuthorizer:
    """The Node authorizer (`wherry.apiserver.attributes.Authorizer`); has no opinion on users that are no nodes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._graph = PodGraph(reader)
        self._special: dict[tuple[str, str], Callable[[str, Attributes], Decision]] = {
            ("", "secrets"): self._readable,
            ("", "configmaps"): self._readable,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._gettable,
            ("", "serviceaccounts"): self._account,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
            ("resource.k8s.io", "resourceclaims"): self._gettable,
            ("resource.k8s.io", "resourceslices"): self._slice,
            ("storage.k8s.io", "volumeattachments"): self._gettable,
            ("storage.k8s.io", "csinodes"): self._csinode,
            ("coordination.k8s.io", "leases"): self._lease,
        }

    def concerns(self, user: UserInfo) -> bool:
        """Tell whether `user` is a node."""
        return NODES_GROUP in user.groups and node_of(user) is not None

    def authorize(self, attributes: Attributes) -> Decision:
        """Decide about a node's request."""
        a = attributes
        node = node_of(a.user) if NODES_GROUP in a.user.groups else None
        if node is None:
            return _NO_OPINION
        if not node:
            return _no(f'unknown node for user "{a.user.name}"')
        special = self._special.get((a.group, a.resource))
        return special(node, a) if special is not None else _by_rules(a)

    def _readable(self, node: str, a: Attributes) -> Decision:
        if a.verb not in ("get", "list", "watch"):
            return _no("can only read resources of this type")
        if a.subresource:
            return _no("cannot read subresource")
        if not a.namespace:
            return _no("can only read namespaced object of this type")
        return self._related(node, a)

    def _gettable(self, node: str, a: Attributes) -> Decision:
        if a.verb != "get":
            return _no("can only get individual resources of this type")
        if a.subresource:
            return _no("cannot get subresource")
        return self._related(node, a)

    def _claim(self, node: str, a: Attributes) -> Decision:
        if a.subresource != "status":
            return self._gettable(node, a)
        if a.verb not in ("update", "patch"):
            return _no("can only get/update/patch this type")
        return self._related(node, a)

    def _account(self, node: str, a: Attributes) -> Decision:
        if a.verb == "get" and not a.subresource:
            return self._related(node, a)
        if a.verb != "create" or not a.name:
            return _no("can only create tokens for individual service accounts")
        if a.subresource != "token":
            return _no("can only create token subresource of serviceaccount")
        return self._related(node, a)

    def _lease(self, node: str, a: Attributes) -> Decision:
        if a.verb not in ("get", "create", "update", "patch", "delete"):
            return _no("can only get, create, update, patch, or delete a node lease")
        if a.namespace != LEASE_NAMESPACE:
            return _no(f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        # The name is in the body of a create; NodeRestriction looks at it.
        if a.verb != "create" and a.name != node:
            return _no("can only access node lease with the same name as the requesting node")
        return _ALLOWED

    def _csinode(self, node: str, a: Attributes) -> Decision:
        if a.verb not in ("get", "create", "update", "patch", "delete"):
            return _no("can only get, create, update, patch, or delete a CSINode")
        if a.subresource:
            return _no("cannot authorize CSINode subresources")
        if a.verb != "create" and a.name != node:
            return _no("can only access CSINode with the same name as the requesting node")
        return _ALLOWED

    def _slice(self, node: str, a: Attributes) -> Decision:
        if a.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        if a.verb == "create":
            return _ALLOWED
        if a.verb in ("get", "update", "patch", "delete"):
            return self._related(node, a)
        if a.verb in ("list", "watch", "deletecollection"):
            if _selects(a.field_selector, "spec.nodeName", node):
                return _ALLOWED
            return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        return _no("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, "
                   "delete, deletecollection")  # fmt: skip

    def _node(self, node: str, a: Attributes) -> Decision:
        if a.subresource in ("", "status") and a.verb in ("get", "list", "watch"):
            own = a.name == node or (a.verb != "get" and _selects(a.field_selector, "metadata.name", node))
            if not own:
                return _no(f"node '{node}' cannot read '{a.name}', only its own Node object")
        return _by_rules(a)

    def _pod(self, node: str, a: Attributes) -> Decision:
        if a.verb == "get":
            return self._related(node, a)
        if a.verb in ("list", "watch"):
            if _selects(a.field_selector, "spec.nodeName", node):
                return _by_rules(a)
            if a.verb == "watch" and a.name:
                return self._related(node, a)
            return _no("can only list/watch pods with spec.nodeName field selector")
        return _by_rules(a)

    def _related(self, node: str, a: Attributes) -> Decision:
        if not a.name:
            return _no("No Object name found")
        if self._relation(node, a):
            return _ALLOWED
        return _no(f"no relationship found between node '{node}' and this object")

    def _relation(self, node: str, a: Attributes) -> bool:
        if a.resource == "pods":
            return _spec(self._reader.get(PODS, a.namespace, a.name)).get("nodeName") == node
        if a.resource == "volumeattachments":
            return _spec(self._reader.get(VOLUMEATTACHMENTS, None, a.name)).get("nodeName") == node
        if a.resource == "resourceslices":
            return _spec(self._reader.get(RESOURCESLICES, None, a.name)).get("nodeName") == node
        if a.resource == "persistentvolumes":
            claim = _spec(self._reader.get(PERSISTENTVOLUMES, None, a.name)).get("claimRef") or {}
            return self._graph.uses(node, "persistentvolumeclaims", claim.get("namespace", ""), claim.get("name", ""))
        return self._graph.uses(node, a.resource, a.namespace, a.name)


def _by_rules(a: Attributes) -> Decision:
    for rule in node_rules():
        if a.resource:
            matched = rules.matches_resource(rule, a.verb, a.group, a.resource, a.subresource)
            if matched and (not rules.names(rule) or a.name in rules.names(rule)):
                return _ALLOWED
        elif rules.matches_path(rule, a.verb, a.path):
            return _ALLOWED
    return _NO_OPINION


def _selects(selector: str, field: str, value: str) -> bool:
    terms = (term.replace("==", "=").partition("=") for term in selector.split(","))
    return any(name.strip() == field and wanted == value for name, _, wanted in terms)


def _spec(obj: dict[str, Any] | None) -> dict[str, Any]:
    return (obj or {}).get("spec") or {}
