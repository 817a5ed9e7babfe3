"""The cluster's certificates: one CA, serving certificates, client certificates, the service-account key.

All keys are ECDSA P-256. What exists is kept; a certificate is made anew when it has less than 30 days left, a serving
certificate also when its names or addresses changed. `credentials.keep` sees to that while the cluster runs.
"""

import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wherry.cluster.files import KeyPair, write_private, write_public
from wherry.util import clock

_CA_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)


class Authority:
    """A certificate authority in a directory (``ca.crt``, ``ca.key``), made when it is not there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.files = KeyPair(directory / "ca.crt", directory / "ca.key")
        if not self.files.certificate.exists():
            self._create()
        self._certificate = x509.load_pem_x509_certificate(self.files.certificate.read_bytes())
        self._key = load_key(self.files.key)

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        certificate = (
            _builder(name, name, key.public_key(), _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self.files.key, _key_pem(key))
        write_public(self.files.certificate, certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, names: Sequence[str], *, client: bool = False) -> KeyPair:
        """Return a serving certificate for DNS names and addresses; `client` allows it for client use too."""
        files = KeyPair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        if files.certificate.exists() and files.key.exists() and self._serves(files.certificate, names):
            return files
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] + ([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])
        # Never the name of the authority: a certificate whose subject is its issuer counts as self-signed.
        return self._issue(files, f"kube-{name}", (), names, usages)

    def client(self, name: str, user: str, groups: Sequence[str]) -> KeyPair:
        """Return a client certificate of `user` (CN) in `groups` (O)."""
        files = KeyPair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        if files.certificate.exists() and files.key.exists() and not _expires_soon(files.certificate):
            return files
        return self._issue(files, user, groups, (), [ExtendedKeyUsageOID.CLIENT_AUTH])

    def _issue(
        self,
        files: KeyPair,
        user: str,
        groups: Sequence[str],
        names: Sequence[str],
        usages: list[x509.ObjectIdentifier],
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user[:64])])
        builder = (
            _builder(subject, self._certificate.subject, key.public_key(), _LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        write_private(files.key, _key_pem(key))
        write_public(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return files

    @staticmethod
    def _serves(path: Path, names: Sequence[str]) -> bool:
        if _expires_soon(path):
            return False
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return False
        return {_general_name(n) for n in names} <= set(extension)


def service_account_key(directory: Path) -> Path:
    """Return the PEM file of the key that signs service-account tokens, made when it is not there."""
    path = directory / "sa.key"
    if not path.exists():
        # RSA: every OpenID Connect client that may be handed these tokens knows RS256, and upstream's are RS256 too.
        write_private(path, _key_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    return path


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Load an ECDSA private key (PEM). Raises ValueError when it is another kind of key."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is not an ECDSA key")
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + life)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _expires_soon(path: Path) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_after_utc - clock.now() < _RENEW_BEFORE
