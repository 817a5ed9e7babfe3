"""Cells of the networking and discovery groups."""

from typing import Any

from wherry.api.meta import Object
from wherry.api.printers.text import NONE, UNSET, age, few, label_selector, name, spec, status


def ingress_class(obj: Object) -> list[Any]:
    parameters, shown = spec(obj).get("parameters"), NONE
    if parameters:
        group = parameters.get("apiGroup")
        kind = f"{parameters['kind']}.{group}" if group else parameters["kind"]
        shown = f"{kind}/{parameters['name']}"
    return [name(obj), spec(obj).get("controller", ""), shown, age(obj)]


def ingress(obj: Object) -> list[Any]:
    addresses = (status(obj).get("loadBalancer") or {}).get("ingress") or ()
    return [
        name(obj),
        spec(obj).get("ingressClassName") or NONE,
        _hosts(spec(obj).get("rules") or []),
        ",".join(sorted({a.get("ip") or a.get("hostname") or "" for a in addresses} - {""})),
        "80, 443" if spec(obj).get("tls") else "80",
        age(obj),
    ]


def _hosts(rules: list[Object]) -> str:
    """Name three hosts; a rule that comes after the third counts as more, also one without a host."""
    hosts: list[str] = []
    for rule in rules:
        if len(hosts) == 3:
            return f"{','.join(hosts)} + {len(rules) - 3} more..."
        if rule.get("host"):
            hosts.append(rule["host"])
    return ",".join(hosts) or "*"


def ip_address(obj: Object) -> list[Any]:
    """The age is a cell without a column, as upstream has it."""
    ref = spec(obj).get("parentRef")
    shown = NONE
    if ref:
        resource = f"{ref['resource']}.{ref['group']}" if ref.get("group") else ref.get("resource", "")
        shown = "/".join([resource.lower(), *([ref["namespace"]] if ref.get("namespace") else []), ref.get("name", "")])
    return [name(obj), shown, age(obj)]


def network_policy(obj: Object) -> list[Any]:
    return [name(obj), label_selector(spec(obj).get("podSelector")), age(obj)]


def service_cidr(obj: Object) -> list[Any]:
    return [name(obj), ",".join(spec(obj).get("cidrs") or ()), age(obj)]


def endpoint_slice(obj: Object) -> list[Any]:
    ports = [str(p.get("port", p.get("name", "*"))) for p in obj.get("ports") or ()]
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType", ""),
        few(ports, nothing=UNSET),
        few(addresses, nothing=UNSET),
        age(obj),
    ]


CELLS = {
    ("networking.k8s.io", "ingressclasses"): ingress_class,
    ("networking.k8s.io", "ingresses"): ingress,
    ("networking.k8s.io", "ipaddresses"): ip_address,
    ("networking.k8s.io", "networkpolicies"): network_policy,
    ("networking.k8s.io", "servicecidrs"): service_cidr,
    ("discovery.k8s.io", "endpointslices"): endpoint_slice,
}
