"""Defaults of ``networking.k8s.io`` and ``discovery.k8s.io``."""

from typing import Any

Obj = dict[str, Any]


def default_ingress_class(obj: Obj) -> None:
    """Parameters are an object of the whole cluster."""
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


def default_network_policy(obj: Obj) -> None:
    """A policy is about what comes in, and about what goes out when it has rules for that."""
    spec = obj.setdefault("spec", {})
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                if port.get("protocol") is None:
                    port["protocol"] = "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def default_endpoint_slice(obj: Obj) -> None:
    """Ports are TCP and may be nameless."""
    for port in obj.get("ports") or ():
        if port.get("name") is None:
            port["name"] = ""
        if port.get("protocol") is None:
            port["protocol"] = "TCP"


DEFAULTS = {
    ("networking.k8s.io", "ingressclasses"): default_ingress_class,
    ("networking.k8s.io", "networkpolicies"): default_network_policy,
    ("discovery.k8s.io", "endpointslices"): default_endpoint_slice,
}
