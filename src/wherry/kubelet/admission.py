"""Whether a pod may run on this node at all; what was rejected fails and is not tried again."""

from collections.abc import Mapping, Sequence

from wherry.api import meta, quantity
from wherry.kubelet import resources, sandboxes
from wherry.kubelet.status import Failure

SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)


def admit(
    pod: meta.Object,
    others: Sequence[meta.Object],
    *,
    allocatable: Mapping[str, str],
    node_labels: Mapping[str, str],
    allowed_sysctls: Sequence[str] = (),
) -> Failure | None:
    """Return why a pod cannot run on this node, None when it can. `others` are the pods that run here already."""
    for name in sandboxes.sysctls_of(pod):
        if name not in SAFE_SYSCTLS and not _listed(name, allowed_sysctls):
            return Failure("SysctlForbidden", f'Pod was rejected: forbidden sysctl: "{name}" not allowlisted')
    selector = pod["spec"].get("nodeSelector") or {}
    if any(node_labels.get(key) != value for key, value in selector.items()):
        text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        return Failure("NodeAffinity", f"Pod was rejected: {text}")
    return _fit(pod, others, allocatable)


def _listed(name: str, patterns: Sequence[str]) -> bool:
    return any(name == p or (p.endswith("*") and name.startswith(p[:-1])) for p in patterns)


def _fit(pod: meta.Object, others: Sequence[meta.Object], allocatable: Mapping[str, str]) -> Failure | None:
    if not allocatable:
        return None
    capacity = quantity.parse(allocatable.get("pods") or "0").whole()
    if capacity and len(others) + 1 > capacity:
        return _out_of("pods", 1, len(others), capacity)
    asked = resources.total(pod, "requests")
    used = [resources.total(other, "requests") for other in others]
    for name, limit in (("cpu", resources.milli_cpu(allocatable)), ("memory", resources.memory(allocatable))):
        taken = sum(u[name] for u in used)
        if asked[name] and taken + asked[name] > limit:
            return _out_of(name, asked[name], taken, limit)
    return None


def _out_of(name: str, asked: int, used: int, capacity: int) -> Failure:
    text = f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}"
    return Failure(f"OutOf{name}", f"Pod was rejected: {text}")
