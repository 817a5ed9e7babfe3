"""EndpointSlices."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from wherry.api import field, names
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.rules import Rules
from wherry.api.validation.service import endpoint_ip
from wherry.api.validation.shared import immutable, named

Obj = dict[str, Any]
Errors = list[FieldError]

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20000
_MAX_TOPOLOGY = 16
_MAX_HINTS = 8


def _slice(obj: Obj) -> Errors:
    errors: Errors = []
    kind = obj.get("addressType") or ""
    if not kind:
        errors.append(field.required("addressType"))
    elif kind not in _ADDRESS_TYPES:
        errors.append(field.not_supported("addressType", kind, _ADDRESS_TYPES))
    endpoints = obj.get("endpoints") or []
    if len(endpoints) > _MAX_ENDPOINTS:
        errors.append(field.too_many("endpoints", len(endpoints), _MAX_ENDPOINTS))
    else:
        for i, endpoint in enumerate(endpoints):
            errors += _endpoint(endpoint, kind, f"endpoints[{i}]")
    return errors + _ports(obj.get("ports") or [])


def _endpoint(endpoint: Obj, kind: str, path: str) -> Errors:
    errors: Errors = []
    addresses = endpoint.get("addresses") or []
    at = f"{path}.addresses"
    if not addresses:
        errors.append(field.required(at, "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        errors.append(field.too_many(at, len(addresses), _MAX_ADDRESSES))
    for i, address in enumerate(addresses):
        errors += _address(address, kind, at, i)
    if endpoint.get("nodeName") is not None:
        errors += named(endpoint["nodeName"], f"{path}.nodeName", checks.subdomain)
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_TOPOLOGY:
        errors.append(field.too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
    errors += metadata.labels(topology, f"{path}.deprecatedTopology")
    if endpoint.get("hostname") is not None:
        errors += named(endpoint["hostname"], f"{path}.hostname", checks.label)
    return errors + _hints(endpoint.get("hints"), f"{path}.hints")


def _address(address: str, kind: str, path: str, index: int) -> Errors:
    if kind == "FQDN":
        return [field.invalid(f"{path}[{index}]", address, m) for m in names.is_fully_qualified_domain_name(address)]
    if kind not in ("IPv4", "IPv6"):
        return []
    errors = named(address, f"{path}[{index}]", checks.ip)
    if errors:
        return errors
    if not isinstance(checks.sloppy_ip(address), IPv4Address if kind == "IPv4" else IPv6Address):
        # The family is asked of the whole list, the spelling of its members.
        errors.append(field.invalid(path, address, f"must be an {kind} address"))
    return errors + endpoint_ip(address, f"{path}[{index}]")


def _hints(hints: Obj | None, path: str) -> Errors:
    errors: Errors = []
    for member in ("forZones", "forNodes"):
        found = (hints or {}).get(member) or []
        at = f"{path}.{member}"
        if len(found) > _MAX_HINTS:
            errors.append(field.too_many(at, len(found), _MAX_HINTS))
            continue
        seen: set[str] = set()
        for i, hint in enumerate(found):
            name = hint.get("name") or ""
            if name in seen:
                errors.append(field.duplicate(f"{at}[{i}].name", name))
            seen.add(name)
            if member == "forZones":
                errors += named(name, f"{at}[{i}].name", checks.label_value)
            else:
                errors += named(name, f"{at}[{i}].name", checks.subdomain)
    return errors


def _ports(ports: list[Obj]) -> Errors:
    if len(ports) > _MAX_PORTS:
        return [field.too_many("ports", len(ports), _MAX_PORTS)]
    errors: Errors = []
    seen: set[str] = set()
    for i, port in enumerate(ports):
        path, name = f"ports[{i}]", port.get("name") or ""
        if name:
            errors += named(name, f"{path}.name", checks.label)
        if name in seen:
            errors.append(field.duplicate(f"{path}.name", name))
        seen.add(name)
        protocol = port.get("protocol")
        if protocol is None:
            errors.append(field.required(f"{path}.protocol"))
        elif protocol not in _PROTOCOLS:
            errors.append(field.not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
        if port.get("appProtocol") is not None:
            errors += named(port["appProtocol"], f"{path}.appProtocol", checks.qualified_name)
    return errors


def _update(obj: Obj, old: Obj) -> Errors:
    return immutable(obj.get("addressType") or "", old.get("addressType") or "", "addressType")


RULES = {("discovery.k8s.io", "endpointslices"): Rules(create=_slice, update=_update)}
