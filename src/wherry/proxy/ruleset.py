"""The model of what is programmed, and the nftables scripts that lead from one to the next."""

from collections.abc import Iterable
from dataclasses import dataclass, field

# Verdict maps and the sets of the table, with their types.
SERVICE_IPS = "service-ips"
SERVICE_NODEPORTS = "service-nodeports"
NO_ENDPOINT_SERVICES = "no-endpoint-services"
NO_ENDPOINT_NODEPORTS = "no-endpoint-nodeports"
FIREWALL_IPS = "firewall-ips"
CLUSTER_IPS = "cluster-ips"
MASQUERADE = "mark-for-masquerade"
REJECT = "reject-chain"

_BY_ADDRESS = "type ipv4_addr . inet_proto . inet_service : verdict;"
_BY_PORT = "type inet_proto . inet_service : verdict;"
_TYPES = {
    SERVICE_IPS: ("map", _BY_ADDRESS),
    SERVICE_NODEPORTS: ("map", _BY_PORT),
    NO_ENDPOINT_SERVICES: ("map", _BY_ADDRESS),
    NO_ENDPOINT_NODEPORTS: ("map", _BY_PORT),
    FIREWALL_IPS: ("map", _BY_ADDRESS),
    CLUSTER_IPS: ("set", "type ipv4_addr;"),
}
_AFFINITY_TYPE = "type ipv4_addr; flags dynamic,timeout;"

# The bit that kube-proxy uses: what carries it gets the host's address as its source.
_MARK = "0x4000"


@dataclass(slots=True)
class Ruleset:
    """`chains`: rules by chain; `elements`: verdicts (empty for a set) by map and key; `affinities`: dynamic sets."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    affinities: set[str] = field(default_factory=set)

    def add(self, other: "Ruleset") -> None:
        """Take in `other`; an element that is there stays, so that of two claims of an address the first wins."""
        self.chains.update(other.chains)
        self.affinities |= other.affinities
        for name, entries in other.elements.items():
            mine = self.elements.setdefault(name, {})
            for key, verdict in entries.items():
                mine.setdefault(key, verdict)

    def put(self, name: str, key: str, verdict: str = "") -> None:
        """Put one element into map or set `name`."""
        self.elements.setdefault(name, {})[key] = verdict


def union(rulesets: Iterable[Ruleset]) -> Ruleset:
    """Return all of `rulesets` in one."""
    result = Ruleset()
    for ruleset in rulesets:
        result.add(ruleset)
    return result


def base_chains(pod_cidr: str, gateway: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the chains that every table has: (hook or empty, rules) by name."""
    by_address = "ip daddr . meta l4proto . th dport vmap @"
    by_port = "fib daddr type local meta l4proto . th dport vmap @"
    check = ("ct state new jump no-endpoints",)
    firewall = (f"ct state new {by_address}{FIREWALL_IPS}",)
    return {
        MASQUERADE: ("", (f"meta mark set meta mark or {_MARK}",)),
        REJECT: ("", ("reject",)),
        "services": ("", (by_address + SERVICE_IPS, by_port + SERVICE_NODEPORTS)),
        "no-endpoints": (
            "",
            (
                by_address + NO_ENDPOINT_SERVICES,
                by_port + NO_ENDPOINT_NODEPORTS,
                # No rule took it, so it is a port that the Service does not have.
                f"ip daddr @{CLUSTER_IPS} goto {REJECT}",
            ),
        ),
        "nat-prerouting": ("type nat hook prerouting priority dstnat;", ("jump services",)),
        "nat-output": ("type nat hook output priority -100;", ("jump services",)),
        "nat-postrouting": (
            "type nat hook postrouting priority srcnat;",
            (
                f"meta mark and {_MARK} == 0 return",
                f"meta mark set meta mark xor {_MARK}",
                f"ip daddr {pod_cidr} snat to {gateway}",
                "masquerade fully-random",
            ),
        ),
        # Before the destination is rewritten …
        "filter-prerouting": ("type filter hook prerouting priority dstnat - 10;", firewall),
        "filter-output": ("type filter hook output priority -110;", firewall),
        # … and after.
        "filter-forward": ("type filter hook forward priority filter;", check),
        "filter-input": ("type filter hook input priority filter;", check),
        "filter-output-translated": ("type filter hook output priority -90;", check),
    }


def replace(
    table: str, ruleset: Ruleset, *, pod_cidr: str, gateway: str, present: Iterable[tuple[str, str]] = ()
) -> str:
    """Return the script that makes the table hold `ruleset` and nothing else.

    `present` are (kind, name) of the chains, maps and sets that it holds now. Affinity sets that stay keep their
    clients. Traffic meets the old rules or the new ones, never none.
    """
    base = base_chains(pod_cidr, gateway)
    script = [f"add table ip {table}"]
    script += [f"add {kind} ip {table} {name} {{ {spec} }}" for name, (kind, spec) in _TYPES.items()]
    script += [f"flush {kind} ip {table} {name}" for name, (kind, _) in _TYPES.items()]
    for name, (hook, _) in base.items():
        script.append(f"add chain ip {table} {name}" + (f" {{ {hook} policy accept; }}" if hook else ""))
        script.append(f"flush chain ip {table} {name}")
    stale_chains = [
        name for kind, name in present if kind == "chain" and name not in ruleset.chains and name not in base
    ]
    stale_sets = [
        (kind, name)
        for kind, name in present
        if kind in ("map", "set") and name not in ruleset.affinities and name not in _TYPES
    ]
    script += [f"add set ip {table} {name} {{ {_AFFINITY_TYPE} }}" for name in sorted(ruleset.affinities)]
    script += [f"add chain ip {table} {name}" for name in ruleset.chains]
    script += [f"flush chain ip {table} {name}" for name in (*ruleset.chains, *stale_chains)]
    script += [f"delete chain ip {table} {name}" for name in stale_chains]
    script += [f"delete {kind} ip {table} {name}" for kind, name in stale_sets]
    for name, (_, rules) in base.items():
        script += [f"add rule ip {table} {name} {rule}" for rule in rules]
    for name, rules in ruleset.chains.items():
        script += [f"add rule ip {table} {name} {rule}" for rule in rules]
    for name, entries in ruleset.elements.items():
        script += _elements("add", table, name, entries)
    return "\n".join(script)


def diff(table: str, old: Ruleset, new: Ruleset) -> str:
    """Return the script that leads from `old` to `new`, empty when they are equal."""
    script = [f"add set ip {table} {name} {{ {_AFFINITY_TYPE} }}" for name in sorted(new.affinities - old.affinities)]
    changed = [name for name, rules in new.chains.items() if old.chains.get(name) != rules]
    gone = [name for name in old.chains if name not in new.chains]
    script += [f"add chain ip {table} {name}" for name in changed if name not in old.chains]
    script += [f"flush chain ip {table} {name}" for name in (*(n for n in changed if n in old.chains), *gone)]
    for name in changed:
        script += [f"add rule ip {table} {name} {rule}" for rule in new.chains[name]]
    for name in _TYPES:
        before, after = old.elements.get(name, {}), new.elements.get(name, {})
        removed = {key: verdict for key, verdict in before.items() if after.get(key) != verdict}
        added = {key: verdict for key, verdict in after.items() if before.get(key) != verdict}
        script += _elements("delete", table, name, removed)
        script += _elements("add", table, name, added)
    script += [f"delete chain ip {table} {name}" for name in gone]
    script += [f"delete set ip {table} {name}" for name in sorted(old.affinities - new.affinities)]
    return "\n".join(script)


def _elements(verb: str, table: str, name: str, entries: dict[str, str]) -> list[str]:
    if not entries:
        return []
    text = ", ".join(f"{key} : {verdict}" if verdict else key for key, verdict in entries.items())
    return [f"{verb} element ip {table} {name} {{ {text} }}"]
