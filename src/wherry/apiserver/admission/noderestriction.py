"""NodeRestriction: a kubelet changes its own Node, the pods bound to it, and what belongs to them, nothing else."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cryptography import x509

from wherry.api import meta
from wherry.api.errors import Forbidden, NotFound
from wherry.api.podreferences import references
from wherry.api.resources import (
    CERTIFICATESIGNINGREQUESTS,
    CSINODES,
    LEASES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SERVICEACCOUNTS,
    builtin,
)
from wherry.apiserver.admission.certificates import parsed
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, DELETE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import Attributes, Authorizer, Reader
from wherry.apiserver.authz.node import LEASE_NAMESPACE, NODE_PREFIX, NODES_GROUP, RESOURCESLICES, node_of

Object = dict[str, Any]
Check = Callable[[Operation, str], None]

_CSIDRIVERS = builtin("storage.k8s.io", "v1", "csidrivers")
_MIRROR = "kubernetes.io/config.mirror"
_RESTRICTED = "node-restriction.kubernetes.io"
_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)
_KUBELET_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_NODE_SIGNERS = frozenset({"kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"})


class NodeRestriction(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/noderestriction``. It looks at users of the group
    ``system:nodes`` only."""

    name = "NodeRestriction"
    resources = (
        PODS,
        NODES,
        PERSISTENTVOLUMECLAIMS,
        SERVICEACCOUNTS,
        LEASES,
        CSINODES,
        RESOURCESLICES,
        CERTIFICATESIGNINGREQUESTS,
    )
    operations = frozenset({CREATE, UPDATE, DELETE})

    def __init__(self, reader: Reader, authorizer: Authorizer) -> None:
        self._reader = reader
        self._authorizer = authorizer
        checks: tuple[Check, ...] = (
            self._pod,
            self._node,
            self._claim,
            self._token,
            self._lease,
            self._csinode,
            self._slice,
            self._request,
        )
        self._checks = {(r.group, r.plural): check for r, check in zip(self.resources, checks, strict=True)}

    def handles(self, operation: Operation) -> bool:
        return NODES_GROUP in operation.user.groups

    def admit(self, operation: Operation) -> None:
        node = node_of(operation.user)
        if node is None:
            return
        if not node:
            raise _no(operation, f'could not determine node from user "{operation.user.name}"')
        self._checks[operation.resource.group, operation.resource.plural](operation, node)

    def _pod(self, operation: Operation, node: str) -> None:
        if operation.subresource == "status":
            _pod_status(operation, node)
        elif operation.subresource == "eviction":
            found = self._reader.get(PODS, operation.namespace, operation.name)
            if found is None:
                raise NotFound.of("pods", operation.name)
            if found["spec"].get("nodeName") != node:
                raise _no(operation, f"node {node} can only evict pods with spec.nodeName set to itself")
        elif operation.subresource:
            why = f"unexpected pod subresource \"{operation.subresource}\", only 'status' and 'eviction' are allowed"
            raise _no(operation, why)
        elif operation.operation == DELETE:
            if ((operation.old or {}).get("spec") or {}).get("nodeName") != node:
                raise _no(operation, f'node "{node}" can only delete pods with spec.nodeName set to itself')
        elif operation.operation == CREATE and operation.obj is not None:
            self._new_pod(operation, operation.obj, node)
        else:
            why = f'unexpected operation "{operation.operation}", node "{node}" can only create and delete mirror pods'
            raise _no(operation, why)

    def _new_pod(self, operation: Operation, pod: Object, node: str) -> None:
        if _MIRROR not in meta.annotations(pod):
            why = f'pod does not have "{_MIRROR}" annotation, node "{node}" can only create mirror pods'
            raise _no(operation, why)
        spec = pod["spec"]
        if spec.get("nodeName") != node:
            raise _no(operation, f'node "{node}" can only create pods with spec.nodeName set to itself')
        self._owner(operation, pod, node)
        if spec.get("serviceAccountName"):
            raise _no(operation, f'node "{node}" can not create pods that reference a service account')
        for what in references(spec):
            raise _no(operation, f'node "{node}" can not create pods that reference {what}')

    def _owner(self, operation: Operation, pod: Object, node: str) -> None:
        owners = pod["metadata"].get("ownerReferences") or []
        only = f'node "{node}" can only create pods with'
        if len(owners) > 1:
            raise _no(operation, f"{only} a single owner reference set to itself")
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise _no(operation, f"{only} an owner reference set to itself")
        if not owner.get("controller"):
            raise _no(operation, f"{only} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise _no(operation, f'node "{node}" must not set blockOwnerDeletion on an owner reference')
        found = self._reader.get(NODES, None, node)
        if found is None:
            raise NotFound.of("nodes", node)
        if owner.get("uid") != meta.uid(found):
            raise _no(operation, f"node {node} UID mismatch: expected {owner.get('uid')} got {meta.uid(found)}")

    def _node(self, operation: Operation, node: str) -> None:
        name = operation.name or (meta.name(operation.obj) if operation.obj is not None else "")
        if name != node:
            raise _no(operation, f'node "{node}" is not allowed to modify node "{name}"')
        obj, old = operation.obj, operation.old
        if obj is None:
            return
        spec, before = obj.get("spec") or {}, (old or {}).get("spec") or {}
        changed = _forbidden_labels(meta.labels(obj), meta.labels(old) if old is not None else {})
        if old is None:
            if spec.get("configSource") is not None:
                raise _no(operation, f'node "{node}" is not allowed to create pods with a non-nil configSource')
            if changed:
                raise _no(operation, f'node "{node}" is not allowed to set the following labels: {", ".join(changed)}')
            return
        if spec.get("configSource") not in (None, before.get("configSource")):
            raise _no(operation, f'node "{node}" is not allowed to update configSource to a new non-nil configSource')
        if (spec.get("taints") or []) != (before.get("taints") or []):
            raise _no(operation, f'node "{node}" is not allowed to modify taints')
        if changed:
            raise _no(operation, f"is not allowed to modify labels: {', '.join(changed)}")

    def _claim(self, operation: Operation, node: str) -> None:
        if operation.subresource != "status":
            raise _no(operation, "may only update PVC status")
        if operation.operation != UPDATE or operation.obj is None or operation.old is None:
            raise _no(operation, f'unexpected operation "{operation.operation}"')
        if _but_node_fields(operation.obj) != _but_node_fields(operation.old):
            why = f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
            raise _no(operation, why)

    def _token(self, operation: Operation, node: str) -> None:
        if operation.operation != CREATE or operation.subresource != "token":
            return
        ref = ((operation.obj or {}).get("spec") or {}).get("boundObjectRef") or {}
        if (ref.get("apiVersion"), ref.get("kind")) != ("v1", "Pod") or not ref.get("name"):
            raise _no(operation, "node requested token not bound to a pod")
        if not ref.get("uid"):
            raise _no(operation, "node requested token with a pod binding without a uid")
        pod = self._reader.get(PODS, operation.namespace, ref["name"])
        if pod is None:
            raise NotFound.of("pods", ref["name"])
        if ref["uid"] != meta.uid(pod):
            why = (
                f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. The object "
                "might have been deleted and then recreated"
            )
            raise _no(operation, why)
        if pod["spec"].get("nodeName") != node:
            raise _no(operation, "node requested token bound to a pod scheduled on a different node")
        self._audience(operation, pod)

    def _audience(self, operation: Operation, pod: Object) -> None:
        """Refuse a token for an audience that nothing in the pod asks for, unless the node may request it anyhow."""
        audiences = ((operation.obj or {}).get("spec") or {}).get("audiences") or [""]
        if len(audiences) > 1:
            raise _no(operation, "node may only request 0 or 1 audiences")
        audience, user = audiences[0], operation.user
        if audience in self._audiences(pod):
            return
        verb, account = "request-serviceaccounts-token-audience", pod["spec"].get("serviceAccountName") or ""
        asked = Attributes(user, verb, "", "v1", audience, namespace=operation.namespace, name=account)
        if not self._authorizer.authorize(asked).allowed:
            why = f"{user.name} is not authorized to request tokens for this audience"
            raise _no(operation, f'audience "{audience}" not found in pod spec volume, {why}')

    def _audiences(self, pod: Object) -> Iterator[str]:
        """Yield the audiences of the tokens that the volumes of a pod hold, and of those that its CSI drivers want."""
        for volume in pod["spec"].get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if "serviceAccountToken" in source:
                    yield source["serviceAccountToken"].get("audience") or ""
            name = self._driver(pod, volume)
            driver = self._reader.get(_CSIDRIVERS, None, name) if name else None
            for request in ((driver or {}).get("spec") or {}).get("tokenRequests") or ():
                yield request.get("audience") or ""

    def _driver(self, pod: Object, volume: Object) -> str:
        """Return the CSI driver of a volume; empty where it has none."""
        if "csi" in volume:
            return str(volume["csi"]["driver"])
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if "ephemeral" in volume:
            name = f"{meta.name(pod)}-{volume['name']}"
        claim = self._reader.get(PERSISTENTVOLUMECLAIMS, meta.namespace(pod), name) if name else None
        bound = ((claim or {}).get("spec") or {}).get("volumeName")
        found = self._reader.get(PERSISTENTVOLUMES, None, bound) if bound else None
        return str((((found or {}).get("spec") or {}).get("csi") or {}).get("driver") or "")

    def _lease(self, operation: Operation, node: str) -> None:
        if operation.namespace != LEASE_NAMESPACE:
            raise _no(operation, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        if operation.name != node:
            raise _no(operation, "can only access node lease with the same name as the requesting node")

    def _csinode(self, operation: Operation, node: str) -> None:
        if operation.name != node:
            raise _no(operation, "can only access CSINode with the same name as the requesting node")

    def _slice(self, operation: Operation, node: str) -> None:
        verb = {CREATE: "create", DELETE: "delete"}.get(operation.operation)
        found = operation.obj if operation.operation == CREATE else operation.old
        if verb is not None and ((found or {}).get("spec") or {}).get("nodeName") != node:
            raise _no(operation, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")

    def _request(self, operation: Operation, node: str) -> None:
        spec = (operation.obj or {}).get("spec") or {}
        if operation.operation != CREATE or spec.get("signerName") not in _NODE_SIGNERS:
            return
        try:
            subject = parsed(spec.get("request") or "").subject
        except ValueError as error:
            raise _no(operation, f"unable to parse csr: {error}") from None
        names = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        if not names or names[0].value != NODE_PREFIX + node:
            raise _no(operation, f"can only create a node CSR with CN={NODE_PREFIX}{node}")


def _no(operation: Operation, why: str) -> Forbidden:
    return forbidden(operation.resource, operation.name, why)


def _pod_status(operation: Operation, node: str) -> None:
    pod, old = operation.obj, operation.old
    if operation.operation != UPDATE or pod is None or old is None:
        raise _no(operation, f'unexpected operation "{operation.operation}"')
    if old["spec"].get("nodeName") != node:
        why = f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
        raise _no(operation, why)
    if meta.labels(pod) != meta.labels(old):
        raise _no(operation, f'node "{node}" cannot update labels through pod status')
    claims = [(found.get("status") or {}).get("resourceClaimStatuses") or [] for found in (pod, old)]
    if claims[0] != claims[1]:
        raise _no(operation, f'node "{node}" cannot update resource claim statues')


def _but_node_fields(claim: Object) -> Object:
    """Return a claim without what a node may change in its status."""
    mine = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")
    metadata = {k: v for k, v in claim["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    status = {k: v for k, v in (claim.get("status") or {}).items() if k not in mine}
    return {**claim, "metadata": metadata, "status": status}


def _forbidden_labels(labels: Mapping[str, str], old: Mapping[str, str]) -> list[str]:
    """Return the labels that differ and that a kubelet may not change."""
    changed = sorted(key for key in labels.keys() | old.keys() if labels.get(key) != old.get(key))
    return [key for key in changed if not _may_change(key)]


def _may_change(label: str) -> bool:
    domain, slash, _ = label.rpartition("/")
    if not slash or not any(domain == root or domain.endswith(f".{root}") for root in ("kubernetes.io", "k8s.io")):
        return True
    if domain == _RESTRICTED or domain.endswith(f".{_RESTRICTED}"):
        return False
    known = any(domain == prefix or domain.endswith(f".{prefix}") for prefix in _KUBELET_PREFIXES)
    return label in _KUBELET_LABELS or known
