"""IPAddresses and ServiceCIDRs: which addresses Services may have, and which of them are taken."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_network
from typing import Any

from wherry.api import field, names
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.metadata import path_segment
from wherry.api.validation.references import path_name
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import immutable, named

Obj = dict[str, Any]
Errors = list[FieldError]


def _address_name(name: str, prefix: bool) -> Iterable[str]:
    """Check an address that must be spelled as it is printed."""
    found = checks.sloppy_ip(name)
    if found is None:
        return names.is_valid_ip(name)
    if checks.has_leading_zeros(name):
        return ["must not have leading 0s"]
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return ["must not be an IPv4-mapped IPv6 address"]
    return [] if str(found) == name else [f'must be in canonical form ("{found}")']


def _address(obj: Obj) -> Errors:
    parent = (obj.get("spec") or {}).get("parentRef")
    path = "spec.parentRef"
    if parent is None:
        return [field.required(path)]
    errors: Errors = []
    if parent.get("group"):
        errors += named(parent["group"], f"{path}.group", checks.subdomain)
    errors += path_name(parent.get("resource") or "", f"{path}.resource")
    errors += path_name(parent.get("name") or "", f"{path}.name")
    namespace = parent.get("namespace")
    if namespace:
        errors += [field.invalid(f"{path}.namespace", namespace, m) for m in path_segment(namespace, False)]
    return errors


def _update_address(obj: Obj, old: Obj) -> Errors:
    parent, before = ((o.get("spec") or {}).get("parentRef") for o in (obj, old))
    return [] if parent == before else immutable({"Ref": parent}, {"Ref": before}, "spec.parentRef")


def _cidrs(obj: Obj) -> list[str]:
    return (obj.get("spec") or {}).get("cidrs") or []


def _ranges(obj: Obj) -> Errors:
    cidrs, path = _cidrs(obj), "spec.cidrs"
    if not cidrs:
        return [field.required(path, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [field.invalid(path, {"CIDRs": cidrs}, "may only hold up to 2 values")]
    errors = [e for i, cidr in enumerate(cidrs) for e in named(cidr, f"{path}[{i}]", _canonical_cidr)]
    if len(cidrs) == 2:
        first, second = (checks.sloppy_cidr(cidr) for cidr in cidrs)
        if first is not None and second is not None and first[0].version == second[0].version:
            detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            errors.append(field.invalid(path, cidrs, detail))
    return errors


def _canonical_cidr(value: str) -> Iterable[str]:
    errors = checks.cidr(value)
    if errors:
        return errors
    canonical = str(ip_network(value))
    return () if canonical == value else (f'must be in canonical form ("{canonical}")',)


def _update_ranges(obj: Obj, old: Obj) -> Errors:
    cidrs, before, path = _cidrs(obj), _cidrs(old), "spec.cidrs"
    if len(cidrs) == len(before):
        return [e for i, cidr in enumerate(cidrs) for e in immutable(cidr, before[i], f"{path}[{i}]")]
    if len(before) == 1 and len(cidrs) == 2:
        return immutable(cidrs[0], before[0], f"{path}[0]") + _ranges(obj)
    return immutable(cidrs, before, path)


RULES = {
    ("networking.k8s.io", "ipaddresses"): Rules(create=_address, update=_update_address, name=_address_name),
    ("networking.k8s.io", "servicecidrs"): Rules(create=_ranges, update=_update_ranges),
}
