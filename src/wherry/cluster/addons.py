"""Objects that make a cluster whole beside the control plane: the cluster's DNS name and what its server may read."""

from wherry.api import errors
from wherry.api.meta import Object
from wherry.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, Resource
from wherry.client.client import Client
from wherry.cluster.config import ClusterConfig, gateway
from wherry.dns import service

_ROLE = "system:coredns"
_RBAC = "rbac.authorization.k8s.io"


async def publish(client: Client, config: ClusterConfig) -> None:
    """Make the DNS Service, this node's slice of it, and the right of the node process to read Services for it."""
    await _ensure(client, CLUSTERROLES, _role())
    await _ensure(client, CLUSTERROLEBINDINGS, _binding())
    address = gateway(config.pod_cidr)
    await service.publish(client, config.dns_service_ip, node_name=config.node_name, address=address)


def _role() -> Object:
    readable = (("", ["endpoints", "services", "pods", "namespaces"]), ("discovery.k8s.io", ["endpointslices"]))
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": _ROLE},
        "rules": [
            {"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]} for group, resources in readable
        ],
    }


def _binding() -> Object:
    """The proxy and the DNS server of a node share one connection, as the proxy's user."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _ROLE},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": _ROLE},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": "system:kube-proxy"}],
    }


async def _ensure(client: Client, resource: Resource, obj: Object) -> None:
    try:
        await client.create(resource, obj)
    except errors.AlreadyExists:
        pass
