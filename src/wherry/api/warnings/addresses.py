"""Addresses and blocks that are valid but not written as they are printed (apimachinery ``util/validation``)."""

from ipaddress import IPv6Address, ip_network

from wherry.api.validation import checks

_LATER = "will be considered invalid in a future Kubernetes release"


def for_ip(value: str, path: str) -> list[str]:
    """Return the warning about an address that is not written as it is printed."""
    found = checks.sloppy_ip(value) if value else None
    if found is None or str(found) == value:
        return []
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    if mapped is not None or checks.has_leading_zeros(value):
        return [f'{path}: non-standard IP address "{value}" {_LATER}: use "{mapped or found}"']
    return [f'{path}: IPv6 address "{value}" should be in RFC 5952 canonical format ("{found}")']


def for_cidr(value: str, path: str) -> list[str]:
    """Return the warnings about a block that is not written as it is printed, or means more than one thing."""
    found = checks.sloppy_cidr(value) if value else None
    if found is None:
        return []
    address, length = found
    network = ip_network(f"{address}/{length}", strict=False)
    out: list[str] = []
    if network.network_address != address:
        single = f"{address}/{address.max_prefixlen}"
        out.append(f'{path}: CIDR value "{value}" is ambiguous in this context (should be "{network}" or "{single}"?)')
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    if mapped or checks.has_leading_zeros(value):
        out.append(f'{path}: non-standard CIDR value "{value}" {_LATER}: use "{network}"')
    if not out and isinstance(address, IPv6Address) and str(network) != value:
        out.append(f'{path}: IPv6 CIDR value "{value}" should be in RFC 5952 canonical format ("{network}")')
    return out
