"""Where a request on the subresource ``proxy`` of a pod or a service goes (``ResourceLocation`` of the registries)."""

import ipaddress
import random
from collections.abc import Iterator
from typing import Any

from yarl import URL

from wherry.api.errors import BadRequest, ServiceUnavailable
from wherry.api.resources import ENDPOINTSLICES, PODS
from wherry.apiserver.registry import Registry
from wherry.apiserver.relay import unreachable_service

Object = dict[str, Any]


def split_proxy_name(text: str, *, kind: str = "service") -> tuple[str, str, str]:
    """Return (scheme, name, port) of ``[scheme:]name[:port]``. Raises BadRequest."""
    parts = text.split(":")
    scheme, name, port = {1: ("", text, ""), 2: ("", *parts), 3: parts}.get(len(parts), ("", "", ""))
    if not name or scheme not in ("", "http", "https"):
        raise BadRequest(f'invalid {kind} request "{text}"')
    return scheme, name, port


def pod_target(pod: Object, scheme: str, port: str) -> URL:
    """Return where a pod listens: on `port`, else on the first that it declares. Raises StatusError."""
    ip = (pod.get("status") or {}).get("podIP") or ""
    _confirm_proxyable(ip)
    if port and not port.isdecimal():
        raise unreachable_service(f"dial tcp: lookup tcp/{port}: unknown port")
    return URL.build(scheme=scheme or "http", host=ip, port=int(port) if port else _first_port(pod))


def service_target(registry: Registry, service: Object, scheme: str, port: str) -> URL:
    """Return a ready endpoint of a service, a random one; only pods are reached this way. Raises StatusError."""
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    wanted = _service_port(service, port)
    if wanted is None:
        shown = port if port.isdecimal() else f'"{port}"'
        raise ServiceUnavailable(f'no service port {shown} found for service "{name}"')
    found = list(_ready(registry, namespace, name, wanted.get("name") or ""))
    random.shuffle(found)
    for endpoint, number in found:
        # Whoever may write slices must not reach with this server's hands what he could not reach himself.
        if _is_pod(registry, namespace, endpoint):
            return URL.build(scheme=scheme or "http", host=endpoint["addresses"][0], port=number)
    raise ServiceUnavailable(f'no endpoints available for service "{name}"')


def _ready(registry: Registry, namespace: str, service: str, port: str) -> Iterator[tuple[Object, int]]:
    for entry in registry.list(ENDPOINTSLICES, namespace):
        labels = entry["metadata"].get("labels") or {}
        if labels.get("kubernetes.io/service-name") != service:
            continue
        number = next((p.get("port") for p in entry.get("ports") or () if (p.get("name") or "") == port), None)
        if number is None:
            continue
        for endpoint in entry.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses"):
                yield endpoint, number


def _is_pod(registry: Registry, namespace: str, endpoint: Object) -> bool:
    ref = endpoint.get("targetRef") or {}
    if ref.get("kind") != "Pod" or ref.get("namespace", namespace) != namespace:
        return False
    pod = registry.get(PODS, namespace, ref.get("name", ""))
    ips = (pod.get("status") or {}).get("podIPs") or () if pod is not None else ()
    return any(entry.get("ip") == endpoint["addresses"][0] for entry in ips)


def _confirm_proxyable(ip: str) -> None:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        raise BadRequest("address not allowed") from None
    if address.is_loopback or address.is_link_local or (address.is_multicast and str(address).startswith("224.0.0.")):
        raise BadRequest("address not allowed")


def _first_port(pod: Object) -> int:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return 80


def _service_port(service: Object, wanted: str) -> Object | None:
    ports: list[Object] = (service.get("spec") or {}).get("ports") or []
    if not wanted:
        return next((p for p in ports if not p.get("name")), ports[0] if ports else None)
    return next((p for p in ports if p.get("name") == wanted or str(p.get("port")) == wanted), None)
