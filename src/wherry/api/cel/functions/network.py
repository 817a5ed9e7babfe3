"""Kubernetes' URL, IP address and CIDR libraries."""

import ipaddress
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from wherry.api.cel.functions import add, function
from wherry.api.cel.values import EvalError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL."""

    cel_type: ClassVar[str] = "kubernetes.URL"
    parts: SplitResult

    def host(self) -> str:
        return self.parts.netloc.rpartition("@")[2]

    def hostname(self) -> str:
        host = self.host()
        if host.startswith("["):
            return host[1 : host.index("]")]
        return host.rpartition(":")[0] if ":" in host else host

    def port(self) -> str:
        tail = self.host().rpartition("]")[2]
        return tail.rpartition(":")[2] if ":" in tail else ""


def _parse_url(text: str) -> Url:
    message = f'parse "{text}": invalid URI for request'
    try:
        parts = urlsplit(text)
        rooted = _rooted(text, parts) if parts.scheme else text.startswith("/")
        control = any(ord(char) < 32 or ord(char) == 127 for char in text)
        if not rooted or control or " " in parts.netloc or ("[" in parts.netloc and "]" not in parts.netloc):
            raise EvalError(f"URL parse error during conversion from string: {message}")
    except ValueError:
        raise EvalError(f"URL parse error during conversion from string: {message}") from None
    return Url(parts)


def _rooted(text: str, parts: SplitResult) -> bool:
    rest = text[len(parts.scheme) + 1 :]
    return rest.startswith("/")


add("url(string) -> kubernetes.URL", _parse_url, traversal=(0,))


@function("isURL(string) -> bool", traversal=(0,))
def is_url(text: str) -> bool:
    try:
        _parse_url(text)
    except EvalError:
        return False
    return True


@function("kubernetes.URL:getQuery() -> map(string, list(string))", traversal=(0,))
def query(url: Url) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for name, value in parse_qsl(url.parts.query, keep_blank_values=True):
        out.setdefault(name, []).append(value)
    return out


add("kubernetes.URL:getScheme() -> string", lambda url: url.parts.scheme)
add("kubernetes.URL:getHost() -> string", Url.host)
add("kubernetes.URL:getHostname() -> string", Url.hostname)
add("kubernetes.URL:getPort() -> string", Url.port)
add("kubernetes.URL:getEscapedPath() -> string", lambda url: quote(unquote(url.parts.path), safe="/:@!$&'()*+,;=~"))


@dataclass(frozen=True, slots=True)
class Ip:
    """An address."""

    cel_type: ClassVar[str] = "net.IP"
    address: Address

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Cidr:
    """An address with the length of its network's prefix."""

    cel_type: ClassVar[str] = "net.CIDR"
    address: Address
    length: int

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"

    def network(self) -> Network:
        return ipaddress.ip_network(f"{self.address}/{self.length}", strict=False)


def _address(text: str) -> Address:
    if "%" in text:
        raise EvalError(f'IP Address "{text}" with zone value is not allowed')
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        detail = f'ParseAddr("{text}"): unable to parse IP'
        raise EvalError(f'IP Address "{text}" parse error during conversion from string: {detail}') from None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        raise EvalError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return found


def _parse_cidr(text: str) -> Cidr:
    address, slash, length = text.partition("/")
    try:
        found = _address(address)
    except EvalError:
        found = None
    bits = found.max_prefixlen if found is not None else 0
    good = slash and length.isascii() and length.isdigit() and str(int(length)) == length and int(length) <= bits
    if found is None or not good:
        detail = (
            f"netip.ParsePrefix(\"{text}\"): no '/'" if not slash else f'netip.ParsePrefix("{text}"): unable to parse'
        )
        raise EvalError(f"network address parse error during conversion from string: {detail}")
    return Cidr(found, int(length))


def _holds(parse: Any, text: str) -> bool:
    try:
        parse(text)
    except EvalError:
        return False
    return True


add("ip(string) -> net.IP", lambda text: Ip(_address(text)), traversal=(0,))
add("isIP(string) -> bool", lambda text: _holds(_address, text), traversal=(0,))
add("ip.isCanonical(string) -> bool", lambda text: str(_address(text)) == text, traversal=(0,))
add("net.IP:family() -> int", lambda ip: ip.address.version)
add("net.IP:isUnspecified() -> bool", lambda ip: ip.address.is_unspecified)
add("net.IP:isLoopback() -> bool", lambda ip: ip.address.is_loopback)
add("net.IP:isLinkLocalMulticast() -> bool", lambda ip: _in(ip.address, "224.0.0.0/24", "ff02::/16"))
add("net.IP:isLinkLocalUnicast() -> bool", lambda ip: _in(ip.address, "169.254.0.0/16", "fe80::/10"))
add("string(net.IP) -> string", str)


def _in(address: Address, v4: str, v6: str) -> bool:
    return address in ipaddress.ip_network(v4 if address.version == 4 else v6)


@function("net.IP:isGlobalUnicast() -> bool")
def is_global_unicast(ip: Ip) -> bool:
    address = ip.address
    broadcast = str(address) == "255.255.255.255"
    link_local = _in(address, "169.254.0.0/16", "fe80::/10")
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or broadcast or link_local)


add("cidr(string) -> net.CIDR", _parse_cidr, traversal=(0,))
add("isCIDR(string) -> bool", lambda text: _holds(_parse_cidr, text), traversal=(0,))
add("net.CIDR:ip() -> net.IP", lambda cidr: Ip(cidr.address))
add("net.CIDR:masked() -> net.CIDR", lambda cidr: Cidr(cidr.network().network_address, cidr.length))
add("net.CIDR:prefixLength() -> int", lambda cidr: cidr.length)
add("string(net.CIDR) -> string", str)


@function("net.CIDR:containsIP(net.IP) -> bool")
def contains_ip(cidr: Cidr, ip: Ip) -> bool:
    return ip.address in cidr.network()


@function("net.CIDR:containsIP(string) -> bool", traversal=(1,))
def contains_ip_text(cidr: Cidr, text: str) -> bool:
    return _address(text) in cidr.network()


@function("net.CIDR:containsCIDR(net.CIDR) -> bool")
def contains_cidr(cidr: Cidr, other: Cidr) -> bool:
    return cidr.length <= other.length and other.address in cidr.network()


@function("net.CIDR:containsCIDR(string) -> bool", traversal=(1,))
def contains_cidr_text(cidr: Cidr, text: str) -> bool:
    return contains_cidr(cidr, _parse_cidr(text))
