"""From Services and EndpointSlices to the rules: pure.

The shape is that of kube-proxy's nftables mode: verdict maps lead from addresses to one chain for each service port,
that chain to one for each endpoint, and this rewrites the destination.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wherry.api import meta
from wherry.api.meta import Object
from wherry.proxy import ruleset as rs
from wherry.proxy.endpoints import Choice, Endpoint, NodeInfo, choose
from wherry.proxy.health import Health
from wherry.proxy.ruleset import Ruleset
from wherry.proxy.services import ServicePort, ports_of

Flows = dict[tuple[str, int], frozenset[tuple[str, int]]]
"""UDP endpoints by (service address or "" for any of the host's, port)."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """The rules of one Service, where its UDP flows may lead, and what is answered on its health check port."""

    rules: Ruleset = field(default_factory=Ruleset)
    flows: Flows = field(default_factory=dict)
    health: dict[int, Health] = field(default_factory=dict)


def plan(
    services: Iterable[Object], slices: Mapping[str, Sequence[Object]], node: NodeInfo, *, pod_cidr: str
) -> Ruleset:
    """Return the rules of all Services; `slices` are the EndpointSlices by the key of their Service."""
    ordered = sorted(services, key=meta.key_of)
    return rs.union(
        plan_service(service, slices.get(meta.key_of(service), ()), node, pod_cidr=pod_cidr).rules
        for service in ordered
    )


def plan_service(service: Object, slices: Sequence[Object], node: NodeInfo, *, pod_cidr: str) -> ServicePlan:
    """Return the plan of one Service."""
    result = ServicePlan()
    local: set[str] = set()
    for port in ports_of(service):
        choice = choose(slices, port.port_name, port.protocol.upper(), node=node)
        _add_port(result.rules, port, choice, pod_cidr)
        if port.protocol == "udp":
            _add_flows(result.flows, port, choice)
        local |= {endpoint.ip for endpoint in choice.local}
    if health_port := service["spec"].get("healthCheckNodePort"):
        result.health[health_port] = Health(meta.namespace(service), meta.name(service), len(local))
    return result


def _add_port(rules: Ruleset, port: ServicePort, choice: Choice, pod_cidr: str) -> None:
    rules.put(rs.CLUSTER_IPS, port.cluster_ip)
    here = f"{port.protocol} . {port.port}"
    service, local, external = (_name(kind, port) for kind in ("service", "local", "external"))
    if choice.cluster:
        # From outside the cluster, the answer must come back through this host.
        off_cluster = (
            f"ip daddr {port.cluster_ip} ip saddr != {pod_cidr} fib saddr type != local jump {rs.MASQUERADE}",
        )
        rules.chains[service] = (*off_cluster, *_balance(rules, port, choice.cluster))
    if choice.local and (port.internal_local or port.external_local):
        rules.chains[local] = tuple(_balance(rules, port, choice.local))

    internal = choice.local if port.internal_local else choice.cluster
    if internal:
        chain = local if port.internal_local else service
        rules.put(rs.SERVICE_IPS, f"{port.cluster_ip} . {here}", f"goto {chain}")
    else:
        rules.put(rs.NO_ENDPOINT_SERVICES, f"{port.cluster_ip} . {here}", _refusal(choice))
    if port.external_ips or port.load_balancer_ips or port.node_port:
        _add_external(rules, port, choice, chains=(service, local, external), pod_cidr=pod_cidr)


def _add_external(
    rules: Ruleset, port: ServicePort, choice: Choice, *, chains: tuple[str, str, str], pod_cidr: str
) -> None:
    service, local, external = chains
    here = f"{port.protocol} . {port.port}"
    addresses = [f"{address} . {here}" for address in sorted({*port.external_ips, *port.load_balancer_ips})]
    node_port = f"{port.protocol} . {port.node_port}"
    if choice.cluster:
        rules.chains[external] = _external_rules(port, choice, service=service, local=local, pod_cidr=pod_cidr)
        for key in addresses:
            rules.put(rs.SERVICE_IPS, key, f"goto {external}")
        if port.node_port:
            rules.put(rs.SERVICE_NODEPORTS, node_port, f"goto {external}")
    if not (choice.local if port.external_local else choice.cluster):
        for key in addresses:
            rules.put(rs.NO_ENDPOINT_SERVICES, key, _refusal(choice))
        if port.node_port:
            rules.put(rs.NO_ENDPOINT_NODEPORTS, node_port, _refusal(choice))
    if port.source_ranges and port.load_balancer_ips:
        firewall = _name("firewall", port)
        rules.chains[firewall] = (f"ip saddr {{ {', '.join(port.source_ranges)} }} return", "drop")
        for address in port.load_balancer_ips:
            rules.put(rs.FIREWALL_IPS, f"{address} . {here}", f"goto {firewall}")


def _external_rules(port: ServicePort, choice: Choice, *, service: str, local: str, pod_cidr: str) -> tuple[str, ...]:
    if not port.external_local:
        return f"jump {rs.MASQUERADE}", f"goto {service}"
    # Who is inside the cluster already gets any endpoint; others keep their address and reach this node's only.
    inside = (
        f"ip saddr {pod_cidr} goto {service}",
        f"fib saddr type local jump {rs.MASQUERADE}",
        f"fib saddr type local goto {service}",
    )
    return (*inside, f"goto {local}") if choice.local else inside


def _refusal(choice: Choice) -> str:
    """Nothing at all is refused; something elsewhere is not for this node to refuse, so it is dropped."""
    return "drop" if choice.cluster else f"goto {rs.REJECT}"


def _balance(rules: Ruleset, port: ServicePort, endpoints: Sequence[Endpoint]) -> list[str]:
    """Make the chains of `endpoints` and return the rules that choose one."""
    chains = []
    chosen = []
    for endpoint in endpoints:
        chain = _name("endpoint", port, f"{endpoint.ip}/{endpoint.port}")
        chains.append(chain)
        # A pod that reaches itself would otherwise get packets from its own address.
        steps = [f"ip saddr {endpoint.ip} jump {rs.MASQUERADE}"]
        if port.affinity:
            affinity = _name("affinity", port, f"{endpoint.ip}/{endpoint.port}")
            rules.affinities.add(affinity)
            chosen.append(f"ip saddr @{affinity} goto {chain}")
            steps.append(f"update @{affinity} {{ ip saddr timeout {port.affinity}s }}")
        steps.append(f"meta l4proto {port.protocol} dnat to {endpoint.ip}:{endpoint.port}")
        rules.chains[chain] = tuple(steps)
    if len(chains) == 1:
        return [f"goto {chains[0]}"]
    verdicts = ", ".join(f"{number} : goto {chain}" for number, chain in enumerate(chains))
    return [*chosen, f"numgen random mod {len(chains)} vmap {{ {verdicts} }}"]


def _name(kind: str, port: ServicePort, more: str = "") -> str:
    text = f"{port.key}/{port.protocol}/{port.port_name or port.port}"
    unique = hashlib.sha256(f"{text} {more}".encode()).hexdigest()[:8]
    # A digit after the hyphen is part of a name for nft; the readable part is for people and may be cut.
    return f"{kind}-{unique}-{text}{'__' if more else ''}{more}"[:200]


def _add_flows(flows: Flows, port: ServicePort, choice: Choice) -> None:
    cluster, local = (frozenset((e.ip, e.port) for e in some) for some in (choice.cluster, choice.local))
    flows[port.cluster_ip, port.port] = local if port.internal_local else cluster
    for address in (*port.external_ips, *port.load_balancer_ips):
        flows[address, port.port] = cluster
    if port.node_port:
        flows["", port.node_port] = cluster
