"""How pods find the DNS server: the Service ``kube-dns`` and a slice of endpoints for each node that serves."""

from typing import Any

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTSLICES, SERVICES, Resource
from wherry.client.client import Client

NAME, NAMESPACE = "kube-dns", "kube-system"
_PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


def service(cluster_ip: str) -> Object:
    """Return the Service; it has no selector, the nodes write its slices."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip,
            "ports": [{"name": name, "port": 53, "protocol": protocol, "targetPort": 53} for name, protocol in _PORTS],
        },
    }


def endpoint_slice(node_name: str, address: str, port: int = 53) -> Object:
    """Return the slice of one node whose server listens on `address`."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{NAME}-{node_name}",
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": NAME,
                "endpointslice.kubernetes.io/managed-by": "dns.wherry",
                "k8s-app": "kube-dns",
            },
        },
        "addressType": "IPv6" if ":" in address else "IPv4",
        "ports": [{"name": name, "port": port, "protocol": protocol} for name, protocol in _PORTS],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": node_name,
            }
        ],
    }


async def publish(client: Client, cluster_ip: str, *, node_name: str, address: str, port: int = 53) -> None:
    """Make the Service where it is missing, and this node's slice say `address` and `port`."""
    try:
        await client.get(SERVICES, NAME, NAMESPACE)
    except errors.NotFound:
        await client.create(SERVICES, service(cluster_ip))
    await _put(client, ENDPOINTSLICES, endpoint_slice(node_name, address, port))


async def _put(client: Client, resource: Resource, wanted: Object) -> None:
    name, namespace = meta.name(wanted), meta.namespace(wanted)
    try:
        await client.create(resource, wanted)
    except errors.AlreadyExists:
        patch: dict[str, Any] = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")}
        patch["metadata"] = {"labels": meta.labels(wanted)}
        await client.patch(resource, name, patch, namespace)
