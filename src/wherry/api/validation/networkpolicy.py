"""NetworkPolicies."""

from ipaddress import ip_network
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import label_selector, named

Obj = dict[str, Any]
Errors = list[FieldError]

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")


def _policy(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    errors = label_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{i}]"
            for j, port in enumerate(rule.get("ports") or ()):
                errors += _port(port, f"{path}.ports[{j}]")
            for j, peer in enumerate(rule.get(peers) or ()):
                errors += _peer(peer, f"{path}.{peers}[{j}]")
    types = spec.get("policyTypes") or []
    if len(types) > len(_TYPES):
        return [*errors, field.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
    for i, kind in enumerate(types):
        if kind not in _TYPES:
            errors.append(field.not_supported(f"spec.policyTypes[{i}]", kind, _TYPES, ordered=True))
    return errors


def _port(found: Obj, path: str) -> Errors:
    errors: Errors = []
    protocol, port, end = found.get("protocol"), found.get("port"), found.get("endPort")
    at = f"{path}.endPort"
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.append(field.not_supported(f"{path}.protocol", protocol, _PROTOCOLS, ordered=True))
    if isinstance(port, int):
        errors += [field.invalid(f"{path}.port", port, m) for m in checks.port_number(port)]
        if end is not None:
            if end < port:
                # 1.36 shows the first port here, not the last.
                errors.append(field.invalid(at, port, "must be greater than or equal to `port`"))
            errors += [field.invalid(at, end, m) for m in checks.port_number(end)]
        return errors
    if end is not None:
        detail = "may not be specified when `port` is " + ("not specified" if port is None else "non-numeric")
        errors.append(field.invalid(at, end, detail))
    if port is not None:
        errors += named(port, f"{path}.port", checks.port_name)
    return errors


def _peer(peer: Obj, path: str) -> Errors:
    errors: Errors = []
    selectors = [m for m in ("podSelector", "namespaceSelector") if peer.get(m) is not None]
    for member in selectors:
        errors += label_selector(peer[member], f"{path}.{member}")
    block = peer.get("ipBlock")
    if block is not None:
        errors += _block(block, f"{path}.ipBlock")
        if selectors:
            errors.append(field.forbidden(path, "may not specify both ipBlock and another peer"))
    elif not selectors:
        errors.append(field.required(path, "must specify a peer"))
    return errors


def _block(block: Obj, path: str) -> Errors:
    cidr = block.get("cidr") or ""
    if not cidr:
        return [field.required(f"{path}.cidr")]
    errors = named(cidr, f"{path}.cidr", checks.cidr)
    outer = checks.sloppy_cidr(cidr)
    if outer is None:
        return errors
    network = ip_network(f"{outer[0]}/{outer[1]}", strict=False)
    for i, excepted in enumerate(block.get("except") or ()):
        errors += named(excepted, f"{path}.except[{i}]", checks.cidr)
        inner = checks.sloppy_cidr(excepted)
        if inner is not None and (inner[0] not in network or inner[1] <= outer[1]):
            errors.append(field.invalid(f"{path}.except[{i}]", excepted, "must be a strict subset of `cidr`"))
    return errors


RULES = {("networking.k8s.io", "networkpolicies"): Rules(create=_policy, update=lambda obj, old: _policy(obj))}
# Upstream checks an update twice, and answers each error as often.
