"""The objects that every cluster has from its first start, besides RBAC: namespaces, priorities, flow control, the
API's own Service."""

import asyncio
import ipaddress
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources as package_data
from typing import Any

from wherry.api.errors import AlreadyExists
from wherry.api.resources import (
    APISERVICES,
    CONFIGMAPS,
    ENDPOINTS,
    ENDPOINTSLICES,
    SERVICECIDRS,
    SERVICES,
    TABLE,
    Resource,
)
from wherry.apiserver.attributes import Reader
from wherry.client.client import Client
from wherry.util import clock

Object = dict[str, Any]

_AT_START = "PriorityClass"
"""The kind that upstream makes when it starts, and does not look after."""


@cache
def shipped() -> list[Object]:
    """Return the objects that are the same in every cluster, namespaces first. Shared; never change them."""
    text = (package_data.files("wherry.apiserver") / "data" / "bootstrap.json").read_text()
    return json.loads(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What differs between clusters. `address` and `port` are where the API server is; the authorities are PEM."""

    service_cidr: str
    address: str
    port: int
    client_ca: str
    front_proxy_ca: str


async def create(reader: Reader, client: Client, facts: Facts) -> None:
    """Create what is missing and correct where the API server is. What exists stays as its users changed it."""
    await _create_all(reader, client, [obj for obj in shipped() if obj["kind"] == _AT_START])
    await restore(reader, client, facts)


def version(reader: Reader) -> tuple[int, ...]:
    """Return what changes whenever something does that `restore` looks at."""
    return tuple(reader.version(resource) for resource in _kept())


@cache
def _kept() -> list[Resource]:
    found = {TABLE.for_object(obj["apiVersion"], obj["kind"]): None for obj in shipped() if obj["kind"] != _AT_START}
    more = (SERVICECIDRS, SERVICES, CONFIGMAPS, ENDPOINTS, ENDPOINTSLICES)
    return [resource for resource in (*found, *more) if resource is not None]


async def restore(reader: Reader, client: Client, facts: Facts) -> None:
    """Do as `create` for what comes back when it was deleted: everything but priority classes."""
    fixed = [obj for obj in shipped() if obj["kind"] != _AT_START]
    await _create_all(reader, client, [o for o in fixed if o["kind"] == "Namespace"])
    await _create_all(reader, client, [_service_cidr(facts.service_cidr)])
    await _create_all(reader, client, [o for o in fixed if o["kind"] != "Namespace"])
    first = str(ipaddress.ip_network(facts.service_cidr)[1])
    await _create_all(reader, client, [_service(first, facts.port), _legacy_tokens()])
    await _keep_data(reader, client, _authentication(facts.client_ca, facts.front_proxy_ca))
    if ipaddress.ip_address(facts.address).is_loopback:
        return  # a server that only this machine reaches has no endpoint that pods could use
    await _publish(reader, client, ENDPOINTS, _endpoints(facts.address, facts.port), lambda obj: obj.get("subsets"))
    slice_ = _slice(facts.address, facts.port)
    await _publish(reader, client, ENDPOINTSLICES, slice_, lambda obj: (obj.get("endpoints"), obj.get("ports")))


async def _create_all(reader: Reader, client: Client, objects: list[Object]) -> None:
    missing = []
    for obj in objects:
        resource = TABLE.for_object(obj["apiVersion"], obj["kind"])
        assert resource is not None
        metadata = obj["metadata"]
        if reader.get(resource, metadata.get("namespace"), metadata["name"]) is None:
            missing.append(_create(client, resource, obj))
    await asyncio.gather(*missing)


async def _create(client: Client, resource: Resource, obj: Object) -> None:
    try:
        created = await client.create(resource, obj)
    except AlreadyExists:
        return
    if resource is APISERVICES:
        condition = {
            "type": "Available",
            "status": "True",
            "reason": "Local",
            "lastTransitionTime": clock.timestamp(),
            "message": "Local APIServices are always available",
        }
        await client.update_status(resource, {**created, "status": {"conditions": [condition]}})
    elif resource is SERVICECIDRS:
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "",
            "lastTransitionTime": clock.timestamp(),
            "message": "Kubernetes Service CIDR is ready",
        }
        await client.update_status(resource, {**created, "status": {"conditions": [condition]}})
    elif obj.get("status") and "status" in resource.subresources and obj["kind"] != "Namespace":
        await client.update_status(resource, {**created, "status": obj["status"]})


async def _publish(
    reader: Reader, client: Client, resource: Resource, obj: Object, content: Callable[[Object], Any]
) -> None:
    existing = reader.get(resource, "default", "kubernetes")
    if existing is None:
        await client.create(resource, obj)
    elif content(existing) != content(obj):
        metadata = {
            **existing["metadata"],
            "labels": {**(existing["metadata"].get("labels") or {}), **obj["metadata"]["labels"]},
        }
        await client.update(resource, {**obj, "metadata": metadata})


async def _keep_data(reader: Reader, client: Client, wanted: Object) -> None:
    existing = reader.get(CONFIGMAPS, wanted["metadata"]["namespace"], wanted["metadata"]["name"])
    if existing is None:
        await _create(client, CONFIGMAPS, wanted)
    elif (existing.get("data") or {}) != wanted["data"]:
        await client.update(CONFIGMAPS, {**existing, "data": wanted["data"]})


def _service_cidr(cidr: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": [cidr]},
    }


def _service(cluster_ip: str, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    }


def _endpoints(address: str, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    }


def _slice(address: str, port: int) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def _authentication(client_ca: str, front_proxy_ca: str) -> Object:
    """What an aggregated server needs to know its clients, and this server, by."""
    data = {"client-ca-file": client_ca} if client_ca else {}
    if front_proxy_ca:
        data |= {
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-client-ca-file": front_proxy_ca,
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-username-headers": '["X-Remote-User"]',
        }
    return _config_map("extension-apiserver-authentication", data)


def _legacy_tokens() -> Object:
    return _config_map("kube-apiserver-legacy-service-account-token-tracking", {"since": clock.timestamp()[:10]})


def _config_map(name: str, data: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": data,
    }
