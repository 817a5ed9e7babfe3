"""Strategy of Services: allocated values survive an update, values of another type do not."""

from typing import Any

from wherry.api.strategy.rules import Strategy

Obj = dict[str, Any]


def _create(obj: Obj) -> None:
    obj["status"] = {"loadBalancer": {}}


def needs_cluster_ip(spec: Obj) -> bool:
    """Tell whether a Service of this type has a cluster IP."""
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_port(spec: Obj) -> bool:
    """Tell whether a Service of this type has node ports."""
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def needs_health_check_port(spec: Obj) -> bool:
    """Tell whether a Service has a port for health checks of a load balancer."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _update(obj: Obj, old: Obj) -> None:
    spec, old_spec = obj["spec"], old.get("spec") or {}
    _sync_cluster_ips(spec, old_spec)
    _keep_allocated(spec, old_spec)
    _drop_of_other_type(spec, old_spec)
    if spec.get("type") != "LoadBalancer" and (obj.get("status") or {}).get("loadBalancer"):
        obj["status"] = {**obj["status"], "loadBalancer": {}}


def _sync_cluster_ips(spec: Obj, old: Obj) -> None:
    """``clusterIP`` and ``clusterIPs``: a client that knows only one of them changes both."""
    ip, ips = spec.get("clusterIP"), spec.get("clusterIPs")
    if ip and not ips:
        if not old.get("clusterIPs") or old.get("clusterIP") != ip or "clusterIPs" not in spec:
            spec["clusterIPs"] = old["clusterIPs"] if old.get("clusterIP") == ip and old.get("clusterIPs") else [ip]
    elif not ip and old.get("clusterIP") and ips == old.get("clusterIPs"):
        spec.pop("clusterIPs", None)
    elif ip and ips and old.get("clusterIP") != ip and ips == old.get("clusterIPs"):
        spec["clusterIPs"] = [ip]


def _keep_allocated(spec: Obj, old: Obj) -> None:
    """What the client leaves out keeps the value that it was given before."""
    if needs_cluster_ip(old) and needs_cluster_ip(spec):
        if not spec.get("clusterIP") and old.get("clusterIP"):
            spec["clusterIP"] = old["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == old.get("clusterIP") and old.get("clusterIPs"):
            spec["clusterIPs"] = old["clusterIPs"]
    if needs_node_port(old) and needs_node_port(spec):
        _keep_node_ports(spec, old)
    both = needs_health_check_port(old) and needs_health_check_port(spec)
    if both and not spec.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old["healthCheckNodePort"]


def _keep_node_ports(spec: Obj, old: Obj) -> None:
    known = {(p.get("protocol"), p.get("port")): p["nodePort"] for p in old.get("ports") or () if p.get("nodePort")}
    used = {p.get("nodePort") for p in spec.get("ports") or ()}
    for port in spec.get("ports") or ():
        allocated = known.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and allocated and allocated not in used:
            port["nodePort"] = allocated


def _unchanged(spec: Obj, old: Obj, *members: str) -> bool:
    return all(spec.get(m) == old.get(m) for m in members)


def _drop_of_other_type(spec: Obj, old: Obj) -> None:
    """Values that the old type needed and the new one has no use for go, unless the client changes them."""
    if needs_cluster_ip(old) and not needs_cluster_ip(spec):
        if _unchanged(spec, old, "clusterIP", "clusterIPs"):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        for member in ("ipFamilies", "ipFamilyPolicy"):
            if _unchanged(spec, old, member):
                spec.pop(member, None)
    if needs_node_port(old) and not needs_node_port(spec):
        before, after = ([p.get("nodePort") for p in s.get("ports") or ()] for s in (old, spec))
        if before == after:
            for port in spec.get("ports") or ():
                port.pop("nodePort", None)
    no_more = needs_health_check_port(old) and not needs_health_check_port(spec)
    if no_more and _unchanged(spec, old, "healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    if old.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        for member in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if _unchanged(spec, old, member):
                spec.pop(member, None)
    externally = spec.get("type") in ("NodePort", "LoadBalancer") or (
        spec.get("type") == "ClusterIP" and spec.get("externalIPs")
    )
    if not externally and _unchanged(spec, old, "externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)


STRATEGIES = {
    ("", "services"): Strategy(
        create=_create,
        update=_update,
        create_on_update=True,
        fields={
            "spec.clusterIP": lambda obj: (obj.get("spec") or {}).get("clusterIP") or "",
            "spec.type": lambda obj: (obj.get("spec") or {}).get("type") or "",
        },
    ),
}
