"""The checks of `wherry.api.names`, remembered: most objects repeat the names of others. And strict addresses."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network

from wherry.api import names

Check = Callable[[str], tuple[str, ...]]


def _remembered(check: Callable[[str], list[str]]) -> Check:
    @lru_cache(4096)
    def remembered(value: str) -> tuple[str, ...]:
        return tuple(check(value))

    return remembered


label = _remembered(names.is_dns1123_label)
subdomain = _remembered(names.is_dns1123_subdomain)
dns1035_label = _remembered(names.is_dns1035_label)
wildcard_subdomain = _remembered(names.is_wildcard_dns1123_subdomain)
subdomain_with_underscore = _remembered(names.is_dns1123_subdomain_with_underscore)
qualified_name = _remembered(names.is_qualified_name)
label_value = _remembered(names.is_label_value)
environment_name = _remembered(names.is_env_var_name)
config_key = _remembered(names.is_config_map_key)
port_name = _remembered(names.is_port_name)
percent = _remembered(names.is_percent)
http_header = _remembered(names.is_http_header_name)
port_number = names.is_port_number
user_id = names.is_user_id
sloppy_ip = lru_cache(1024)(names.parse_ip)


@lru_cache(1024)
def domain_prefixed_path(value: str) -> tuple[tuple[str, str], ...]:
    """Check ``domain/path`` (the name of a controller); return what is wrong, with the part that is."""
    domain, slash, path = value.partition("/")
    if not slash or not domain or not path:
        return ((value, 'must be a domain-prefixed path (such as "acme.io/foo")'),)
    if subdomain(domain):
        return tuple((domain, m) for m in subdomain(domain))
    return tuple((path, m) for m in names.is_domain_prefixed_path(value))


@lru_cache(1024)
def ip(value: str) -> tuple[str, ...]:
    """Check an address in a field that also took odd spellings in the past."""
    found = sloppy_ip(value)
    if found is None:
        return tuple(names.is_valid_ip(value))
    if has_leading_zeros(value):
        return ("must not have leading 0s",)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return ()


@lru_cache(1024)
def canonical_ip(value: str) -> tuple[str, ...]:
    """Check an address that must be spelled as it is printed."""
    errors = ip(value)
    found = sloppy_ip(value)
    if not errors and str(found) != value:
        return (f'must be in canonical form ("{found}")',)
    return errors


@lru_cache(1024)
def cidr(value: str) -> tuple[str, ...]:
    """Check a CIDR in a field that also took odd spellings in the past."""
    found = sloppy_cidr(value)
    if found is None:
        return ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)
    address, length = found
    if has_leading_zeros(value):
        return ("must not have leading 0s in IP or prefix length",)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return ("must not have an IPv4-mapped IPv6 address",)
    if ip_network(f"{address}/{length}", strict=False).network_address != address:
        return ("must not have bits set beyond the prefix length",)
    return ()


def sloppy_cidr(value: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    """Parse a CIDR as old Go did, host bits and leading zeros included, into address and prefix length."""
    address, _, length = value.partition("/")
    found = sloppy_ip(address)
    if found is None or names.is_valid_cidr(value):
        return None
    return found, int(length)


def has_leading_zeros(value: str) -> bool:
    """Tell whether an IPv4 address (or CIDR) is written with leading zeros."""
    return "." in value and any(len(p) > 1 and p[0] == "0" for p in value.split("/")[0].split("."))
