"""A Service as the proxy sees it: its ports, each with every address that it is reached at."""

from collections.abc import Iterator
from dataclasses import dataclass

from wherry.api import meta
from wherry.api.meta import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of one Service. `protocol` is tcp, udp or sctp; only IPv4 addresses.

    `external_ips` are spec.externalIPs and the load balancer's; `affinity` is the timeout in seconds of ClientIP
    affinity, 0 without. `source_ranges` limits who may use `load_balancer_ips`; empty: everybody.
    """

    key: str
    port_name: str
    protocol: str
    cluster_ip: str
    port: int
    node_port: int
    external_ips: tuple[str, ...]
    load_balancer_ips: tuple[str, ...]
    source_ranges: tuple[str, ...]
    affinity: int
    internal_local: bool
    external_local: bool


def ports_of(service: Object) -> Iterator[ServicePort]:
    """Yield the ports of a Service that are to be proxied: none of a headless or ExternalName one."""
    spec = service["spec"]
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    cluster_ip = next((address for address in addresses if _is_ipv4(address)), None)
    if cluster_ip is None or spec.get("type") == "ExternalName":
        return
    timeout = 0
    if spec.get("sessionAffinity") == "ClientIP":
        config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        timeout = config.get("timeoutSeconds") or 10800
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    balancer = [entry["ip"] for entry in ingress if entry.get("ip") and entry.get("ipMode", "VIP") == "VIP"]
    for port in spec.get("ports") or ():
        yield ServicePort(
            key=meta.key_of(service),
            port_name=port.get("name") or "",
            protocol=(port.get("protocol") or "TCP").lower(),
            cluster_ip=cluster_ip,
            port=port["port"],
            node_port=port.get("nodePort") or 0,
            external_ips=_ipv4(spec.get("externalIPs") or ()),
            load_balancer_ips=_ipv4(balancer) if spec.get("type") == "LoadBalancer" else (),
            source_ranges=_ipv4(spec.get("loadBalancerSourceRanges") or ()),
            affinity=timeout,
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            external_local=spec.get("externalTrafficPolicy") == "Local",
        )


def _is_ipv4(address: str) -> bool:
    return "." in address and ":" not in address


def _ipv4(addresses: "tuple[str, ...] | list[str]") -> tuple[str, ...]:
    return tuple(sorted({address.strip() for address in addresses if _is_ipv4(address)}))
