"""The nftables script of pod networking: source addresses of leaving traffic, and host ports.

Pure text; ``wherry.network.nft`` runs it. The table holds nothing of Services, that is ``wherry.proxy``'s.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from wherry.network.protocol import PortMapping


@dataclass(frozen=True, slots=True)
class HostPort:
    """A mapping together with the pod address that it leads to."""

    mapping: PortMapping
    address: IPv4Address


def table(table: str, cidr: IPv4Network, *, gateway: IPv4Address, prefix: str, ports: Iterable[HostPort]) -> str:
    """Return the script that makes the whole table, in place of one that an earlier process left.

    `prefix` is what the names of the host's ends of this cluster's veth pairs begin with.
    """
    return f"""add table ip {table}
delete table ip {table}
table ip {table} {{
    comment "pod addresses and host ports";
    map host-ports {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
    map host-address-ports {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
    set hairpin {{ type ipv4_addr . ipv4_addr; }}
    chain guard {{
        # route_localnet is on for NodePorts and host ports on 127.0.0.1; a pod must not reach the host's loopback by it
        type filter hook prerouting priority raw; policy accept;
        iifname "{prefix}*" ip daddr 127.0.0.0/8 drop
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local jump to-host-ports
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        fib daddr type local jump to-host-ports
    }}
    chain to-host-ports {{
        dnat ip to ip daddr . meta l4proto . th dport map @host-address-ports
        dnat ip to meta l4proto . th dport map @host-ports
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{prefix}*" ip saddr 127.0.0.0/8 snat to {gateway}
        oifname "{prefix}*" ct status dnat ip saddr . ip daddr @hairpin snat to {gateway}
        oifname != "{prefix}*" ip saddr {cidr} ip daddr != {cidr} ip daddr != 224.0.0.0/4 masquerade fully-random
    }}
}}
{change(table, "add", tuple(ports))}"""


def change(table: str, verb: str, ports: Sequence[HostPort]) -> str:
    """Return the script that adds or deletes (`verb`) host ports."""
    lines = []
    for port in ports:
        mapping = port.mapping
        key = f"{mapping.protocol.lower()} . {mapping.host_port}"
        value = f"{port.address} . {mapping.container_port}"
        if mapping.host_ip in ("", "0.0.0.0"):
            lines.append(f"{verb} element ip {table} host-ports {{ {key} : {value} }}")
        elif ":" not in mapping.host_ip:
            lines.append(f"{verb} element ip {table} host-address-ports {{ {mapping.host_ip} . {key} : {value} }}")
    pods = sorted({port.address for port in ports})
    lines += [f"{verb} element ip {table} hairpin {{ {pod} . {pod} }}" for pod in pods]
    return "\n".join(lines)
