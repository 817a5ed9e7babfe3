"""What is said of a certificate that is another server's."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wherry.util.trust import mismatch


def certificate(names: list[str] | None, common: str = "") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = builder.not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=1))
    if names is not None:
        extension = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("names", "common", "told"),
    [
        (["hook.ns.svc"], "", ""),
        (["*.NS.svc"], "", ""),
        (["*.svc"], "", "certificate is valid for *.svc, not hook.ns.svc"),
        (["a", "b"], "", "certificate is valid for a, b, not hook.ns.svc"),
        (None, "", "certificate is not valid for any names, but wanted to match hook.ns.svc"),
        (None, "hook.ns.svc", "certificate relies on legacy Common Name field, use SANs instead"),
    ],
)
def test_the_names_of_a_certificate_are_told_in_gos_words(names: list[str] | None, common: str, told: str) -> None:
    assert mismatch(certificate(names, common), "hook.ns.svc") == told
