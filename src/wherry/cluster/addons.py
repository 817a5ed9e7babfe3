"""Objects that make a cluster whole beside the control plane: DNS name, storage, metrics, rights of their servers."""

from wherry.addons import localpath, metrics
from wherry.api import errors
from wherry.api.meta import Object
from wherry.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, STORAGECLASSES, Resource
from wherry.client.client import Client
from wherry.cluster.config import ClusterConfig, gateway
from wherry.dns import service

_RBAC = "rbac.authorization.k8s.io"

LAST_GRANT = f"/apis/{_RBAC}/v1/clusterrolebindings/{localpath.USER}"
"""The path of what `publish` makes last of the rights of a node: once it is there, they all are."""


async def publish(client: Client, config: ClusterConfig) -> None:
    """Make the DNS Service, this node's slice of it, the default StorageClass, the metrics API, the node's rights."""
    readable = (("", ["endpoints", "services", "pods", "namespaces"]), ("discovery.k8s.io", ["endpointslices"]))
    rules = [{"apiGroups": [group], "resources": names, "verbs": ["list", "watch"]} for group, names in readable]
    # The proxy and the DNS server of a node share one connection, as the proxy's user.
    await _grant(client, "system:coredns", rules, user="system:kube-proxy")
    await _grant(client, localpath.USER, localpath.rights(), user=localpath.USER)
    await _ensure(client, STORAGECLASSES, localpath.storage_class())
    address = gateway(config.pod_cidr)
    await service.publish(client, config.dns_service_ip, node_name=config.node_name, address=address)
    await metrics.publish(client, address=address, node_name=config.node_name)


async def _grant(client: Client, role: str, rules: list[Object], *, user: str) -> None:
    """Give `user` the rights of a ClusterRole of its own."""
    api_version = f"{_RBAC}/v1"
    await _ensure(
        client,
        CLUSTERROLES,
        {"apiVersion": api_version, "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules},
    )
    binding = {
        "apiVersion": api_version,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": role},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }
    await _ensure(client, CLUSTERROLEBINDINGS, binding)


async def _ensure(client: Client, resource: Resource, obj: Object) -> None:
    try:
        await client.create(resource, obj)
    except errors.AlreadyExists:
        pass
