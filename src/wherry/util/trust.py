"""What a bundle of certificates makes trusted, by the rules of Go's ``crypto/x509``, on which upstream's clients rely.

They differ from OpenSSL's defaults: every certificate of a bundle is an anchor, also one that another authority signed;
a server is known by its alternative names alone; extensions that RFC 5280 wants may be missing.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wherry.util import clock

E = TypeVar("E", bound=x509.ExtensionType)
OTHER_NAME = (62, 64)
"""OpenSSL's codes for a server's certificate that has not the host name, or the address, that is asked for."""
SELF_SIGNED = 18
"""OpenSSL's code for a server's certificate that has the name of its issuer, and is not in the bundle."""


def trusting(bundle: str | None) -> ssl.SSLContext:
    """Return the context of a client that trusts the PEM certificates of `bundle` (nothing: those of the system).

    Raises ssl.SSLError, ValueError.
    """
    context = ssl.create_default_context(cadata=bundle or None)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    return context


@dataclass(frozen=True, slots=True)
class Vouched:
    """A server's certificate that an authority of a bundle signed: its SHA-256, and the time until which that holds."""

    fingerprint: bytes
    until: datetime

    @property
    def holds(self) -> bool:
        """Tell whether it holds now."""
        return clock.now() < self.until


async def presented(host: str, port: int, name: str) -> bytes:
    """Return the certificate (DER) that a server presents to who asks for `name`, whoever signed it. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    try:
        return bytes(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.transport.abort()


def vouch(bundle: str, certificate: bytes, name: str) -> Vouched | None:
    """Check the certificate (DER) of the server `name` against the authorities of `bundle` (PEM); None: nobody vouches.

    For certificates that OpenSSL takes for self-signed: issuer and subject have one name, usually the empty one, as
    generators write who forget to name their authority. Go looks at the signature. Raises ValueError.
    """
    leaf = x509.load_der_x509_certificate(certificate)
    if not (_serves(leaf) and _named(leaf, name)):
        return None
    for authority in x509.load_pem_x509_certificates(bundle.encode()):
        until = min(leaf.not_valid_after_utc, authority.not_valid_after_utc)
        begun = max(leaf.not_valid_before_utc, authority.not_valid_before_utc) <= clock.now()
        if begun and _signs(authority) and _issued(leaf, authority):
            vouched = Vouched(sha256(certificate).digest(), until)
            if vouched.holds:
                return vouched
    return None


def mismatch(certificate: bytes, name: str) -> str:
    """Say in Go's words why a server's certificate (DER) is none for `name`; "" when it is one. Raises ValueError."""
    leaf = x509.load_der_x509_certificate(certificate)
    if _named(leaf, name):
        return ""
    names = _extension(leaf, x509.SubjectAlternativeName)
    if _address(name) is not None:
        valid = [str(one) for one in names.get_values_for_type(x509.IPAddress)] if names else []
        if not valid:
            return f"cannot validate certificate for {name} because it doesn't contain any IP SANs"
    else:
        if names is None and leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            return "certificate relies on legacy Common Name field, use SANs instead"
        valid = names.get_values_for_type(x509.DNSName) if names else []
        if not valid:
            return f"certificate is not valid for any names, but wanted to match {name}"
    return f"certificate is valid for {', '.join(valid)}, not {name}"


def _issued(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _signs(authority: x509.Certificate) -> bool:
    constraints = _extension(authority, x509.BasicConstraints)
    usage = _extension(authority, x509.KeyUsage)
    return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)


def _serves(leaf: x509.Certificate) -> bool:
    uses: Iterable[x509.ObjectIdentifier] | None = _extension(leaf, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    return uses is None or not allowed.isdisjoint(uses)


def _named(leaf: x509.Certificate, name: str) -> bool:
    names = _extension(leaf, x509.SubjectAlternativeName)
    if names is None:
        return False
    address = _address(name)
    if address is not None:
        return address in names.get_values_for_type(x509.IPAddress)
    wanted = name.lower().rstrip(".")
    parent = wanted.partition(".")[2]
    return any(one.lower() in (wanted, f"*.{parent}") for one in names.get_values_for_type(x509.DNSName))


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
