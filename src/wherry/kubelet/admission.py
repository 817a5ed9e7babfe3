"""Whether a pod may run on this node at all; what was rejected fails and is not tried again."""

from collections.abc import Iterator, Mapping, Sequence

from wherry.api import meta, quantity
from wherry.api.selectors import nodes
from wherry.kubelet import podspec, resources, sandboxes
from wherry.kubelet.qos import BEST_EFFORT, qos_class
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
    node: meta.Object | None,
    allocatable: Mapping[str, str],
    allowed_sysctls: Sequence[str] = (),
    requests: resources.Requests | None = None,
    pressure: Mapping[str, bool] | None = None,
    apparmor: bool = True,
) -> Failure | None:
    """Return why a pod cannot run on this node, None when it can.

    `others` are the pods that run here already; `node` is the Node, None while it is not known (its labels and taints
    do not count then). `pressure` are the node's pressure conditions, `apparmor` tells whether it enforces profiles.
    Source of the rules: kubernetes ``pkg/kubelet/lifecycle/predicate.go`` and ``pkg/kubelet/eviction``.
    """
    conditions = [kind for kind, holds in (pressure or {}).items() if holds]
    if conditions and not _bears(pod, conditions):
        return _rejected("Evicted", f"The node had condition: [{' '.join(conditions)}]. ")
    if not apparmor and _wants_apparmor(pod):
        return _rejected("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
    for name in sandboxes.sysctls_of(pod):
        if name not in SAFE_SYSCTLS and not _listed(name, allowed_sysctls):
            return _rejected("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
    failure = _fit(pod, others, allocatable, requests or resources.Requests())
    if failure is not None or node is None:
        return failure
    if not nodes.selects_node(pod["spec"], node):
        return _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    if _ports_taken(pod, others):
        return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    taints = (node.get("spec") or {}).get("taints") or ()
    tolerations = pod["spec"].get("tolerations") or ()
    found = () if podspec.is_static(pod) else nodes.untolerated(taints, tolerations, effects=("NoExecute",))
    if found:
        shown = f"{{{found[0]['key']}: {found[0].get('value', '')}}}"
        return _predicate("TaintToleration", f"node(s) had untolerated taint {shown}")
    return None


def _wants_apparmor(pod: meta.Object) -> bool:
    holders = [pod["spec"], *(container for _, container in podspec.every_container(pod))]
    profiles = [(holder.get("securityContext") or {}).get("appArmorProfile") or {} for holder in holders]
    return any(profile.get("type", "Unconfined") != "Unconfined" for profile in profiles)


def _bears(pod: meta.Object, conditions: Sequence[str]) -> bool:
    """Tell whether a pod may start under pressure: a critical one, or for memory alone one that asked for some."""
    if podspec.is_critical(pod):
        return True
    if list(conditions) != ["MemoryPressure"]:
        return False
    taint = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
    tolerations = pod["spec"].get("tolerations") or ()
    return qos_class(pod) != BEST_EFFORT or not nodes.untolerated([taint], tolerations, effects=("NoSchedule",))


def _rejected(reason: str, message: str) -> Failure:
    return Failure(reason, f"Pod was rejected: {message}", rejected=True)


def _predicate(name: str, message: str) -> Failure:
    return _rejected(name, f"Predicate {name} failed: {message}")


def _host_ports(pod: meta.Object) -> Iterator[tuple[str, str, int]]:
    """Yield address, protocol and number of the ports of the host that a pod wants."""
    sidecars = (entry for entry in podspec.init_containers(pod) if podspec.is_sidecar(entry))
    for container in (*podspec.containers(pod), *sidecars):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol", "TCP"), port["hostPort"]


def _ports_taken(pod: meta.Object, others: Sequence[meta.Object]) -> bool:
    wanted = list(_host_ports(pod))
    return bool(wanted) and any(
        mine[1:] == its[1:] and (mine[0] == its[0] or "0.0.0.0" in (mine[0], its[0]))
        for other in others
        for its in _host_ports(other)
        for mine in wanted
    )


def _listed(name: str, patterns: Sequence[str]) -> bool:
    return any(name == p or (p.endswith("*") and name.startswith(p[:-1])) for p in patterns)


def _fit(
    pod: meta.Object, others: Sequence[meta.Object], allocatable: Mapping[str, str], requests: resources.Requests
) -> Failure | None:
    if not allocatable:
        return None
    capacity = quantity.parse(allocatable.get("pods") or "0").whole()
    if capacity and len(others) + 1 > capacity:
        return _out_of("pods", 1, len(others), capacity)
    asked = requests.of(pod)
    used = [requests.of(other) for other in others]
    for name, limit in (("cpu", resources.milli_cpu(allocatable)), ("memory", resources.memory(allocatable))):
        taken = sum(u[name] for u in used)
        if asked[name] and taken + asked[name] > limit:
            return _out_of(name, asked[name], taken, limit)
    return None


def _out_of(name: str, asked: int, used: int, capacity: int) -> Failure:
    text = f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}"
    return _rejected(f"OutOf{name}", text)
