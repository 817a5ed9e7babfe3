"""Certificate requests and what the built-in signers make of them (kubernetes ``pkg/controller/certificates``).

Knows X.509 and no API objects but the ``usages`` of a request.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

_NODES = "system:nodes"
_NODE = "system:node:"
_BACKDATE = timedelta(minutes=5)
_SHORT = timedelta(hours=8)

_KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_ALL_KEY_USAGES = tuple(dict.fromkeys(_KEY_USAGES.values()))
_EXTENDED = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": ObjectIdentifier("2.16.840.1.113730.4.1"),
}


class Refused(Exception):
    """A signer does not sign such a request; the message is Kubernetes'."""


class Request:
    """A PKCS #10 request in PEM. Raises ValueError when it is none."""

    def __init__(self, pem: bytes) -> None:
        self.csr = x509.load_pem_x509_csr(pem)

    @property
    def common_name(self) -> str:
        return next((str(a.value) for a in self.csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")

    @property
    def organizations(self) -> list[str]:
        return [str(a.value) for a in self.csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]

    @cached_property
    def alternative_names(self) -> x509.SubjectAlternativeName | None:
        """The names and addresses that it asks for beside the subject."""
        try:
            return self.csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return None

    def names(self, kind: type[x509.GeneralName]) -> int:
        """Return how many alternative names of a kind it asks for."""
        return sum(isinstance(name, kind) for name in self.alternative_names or ())


def _forbid(request: Request, *kinds: tuple[type[x509.GeneralName], str]) -> None:
    for kind, word in kinds:
        if request.names(kind):
            raise Refused(f"{word} subjectAltNames are not allowed")


_DNS, _EMAIL, _IP, _URI = (
    (x509.DNSName, "DNS"), (x509.RFC822Name, "email"), (x509.IPAddress, "IP"), (x509.UniformResourceIdentifier, "URI"),
)  # fmt: skip


def _check_usages(usages: Sequence[str], purpose: str) -> None:
    required = {"digital signature", "key encipherment", purpose}
    if set(usages) not in (required, required - {"key encipherment"}):
        raise Refused(f"usages did not match [{' '.join(sorted(required))}]")


def check_kubelet_client(request: Request, usages: Sequence[str]) -> None:
    """Check a request for ``kubernetes.io/kube-apiserver-client-kubelet``. Raises Refused."""
    if request.organizations != [_NODES]:
        raise Refused("subject organization is not system:nodes")
    _forbid(request, _DNS, _EMAIL, _IP, _URI)
    if not request.common_name.startswith(_NODE):
        raise Refused("subject common name does not begin with system:node: ")
    _check_usages(usages, "client auth")


def check_kubelet_serving(request: Request, usages: Sequence[str]) -> None:
    """Check a request for ``kubernetes.io/kubelet-serving``. Raises Refused."""
    if request.organizations != [_NODES]:
        raise Refused("subject organization is not system:nodes")
    if not request.names(x509.DNSName) and not request.names(x509.IPAddress):
        raise Refused("DNS or IP subjectAltName is required")
    _forbid(request, _EMAIL, _URI)
    _check_usages(usages, "server auth")
    if not request.common_name.startswith(_NODE):
        raise Refused("subject common name does not begin with system:node: ")


def check_client(request: Request, usages: Sequence[str]) -> None:
    """Check a request for ``kubernetes.io/kube-apiserver-client``. Raises Refused."""
    for usage in usages:
        if usage not in ("digital signature", "key encipherment", "client auth"):
            raise Refused(f"invalid usage for client certificate: {usage}")
    if "client auth" not in usages:
        raise Refused("missing required usage for client certificate: client auth")


CHECKS: dict[str, Callable[[Request, Sequence[str]], None]] = {
    "kubernetes.io/kube-apiserver-client": check_client,
    "kubernetes.io/kube-apiserver-client-kubelet": check_kubelet_client,
    "kubernetes.io/kubelet-serving": check_kubelet_serving,
    "kubernetes.io/legacy-unknown": lambda request, usages: None,
}
"""The built-in signers and what each refuses."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with an authority (PEM); `duration` is the longest life of a certificate."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    duration: timedelta

    @classmethod
    def from_pem(cls, certificate: str, key: str, duration: timedelta) -> "Signer":
        """Return the signer of an authority. Raises ValueError."""
        private = serialization.load_pem_private_key(key.encode(), None)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise ValueError("the authority's key is of a kind that signs no certificates")
        return cls(x509.load_pem_x509_certificate(certificate.encode()), private, duration)

    def sign(self, request: Request, usages: Sequence[str], *, seconds: int | None, now: datetime) -> str:
        """Return the certificate (PEM) for a request, valid for `seconds` where the authority allows it."""
        life = self.duration
        if seconds is not None:
            life = min(life, max(timedelta(seconds=seconds), 2 * _BACKDATE))
        # What lives long is backdated as a whole; taking five minutes of a short life would cost too much of it.
        end = now + life - (_BACKDATE if life >= _SHORT else timedelta())
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.csr.subject)
            .issuer_name(self.certificate.subject)
            .public_key(request.csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(min(end, self.certificate.not_valid_after_utc))
        )
        for extension, critical in self._extensions(request, usages):
            builder = builder.add_extension(extension, critical=critical)
        digest = None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(self.key, digest).public_bytes(serialization.Encoding.PEM).decode()

    def _extensions(self, request: Request, usages: Sequence[str]) -> list[tuple[x509.ExtensionType, bool]]:
        wanted = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
        extended = list(dict.fromkeys(_EXTENDED[usage] for usage in usages if usage in _EXTENDED))
        result: list[tuple[x509.ExtensionType, bool]] = []
        if wanted:
            if not wanted & {"key_agreement"}:
                wanted -= {"encipher_only", "decipher_only"}  # they say how an agreed key may be used
            result.append((x509.KeyUsage(**{name: name in wanted for name in _ALL_KEY_USAGES}), True))
        if extended:
            result.append((x509.ExtendedKeyUsage(extended), False))
        result.append((x509.BasicConstraints(ca=False, path_length=None), True))
        issuer = self.certificate.public_key()
        result.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False))  # type: ignore[arg-type]
        if request.alternative_names is not None:
            result.append((request.alternative_names, False))
        return result


def expires(certificate: bytes) -> datetime:
    """Return when the first certificate of a PEM bundle ends. Raises ValueError."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
