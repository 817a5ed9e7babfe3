"""The cluster's certificates."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from wherry.cluster import pki
from wherry.util import clock


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path)
    pair = authority.client("admin", "kubernetes-admin", ["system:masters"])
    for path in (authority.files.key, pair.key, pki.service_account_key(tmp_path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_client_certificate_names_user_and_groups_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    authority = pki.Authority(tmp_path)
    certificate = load(authority.client("admin", "kubernetes-admin", ["system:masters"]).certificate)
    certificate.verify_directly_issued_by(load(authority.files.certificate))
    subject = certificate.subject
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["kubernetes-admin"]
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:masters"]


def test_what_exists_is_kept(tmp_path: Path) -> None:
    first = pki.Authority(tmp_path).server("apiserver", ["localhost", "127.0.0.1"]).certificate.read_bytes()
    again = pki.Authority(tmp_path).server("apiserver", ["localhost", "127.0.0.1"]).certificate.read_bytes()
    assert first == again


def test_a_serving_certificate_is_renewed_for_a_new_address(tmp_path: Path) -> None:
    pki.Authority(tmp_path).server("apiserver", ["localhost"])
    certificate = load(pki.Authority(tmp_path).server("apiserver", ["localhost", "192.0.2.7"]).certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.7" in [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def test_a_certificate_is_renewed_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pki.Authority(tmp_path).client("admin", "admin", []).certificate.read_bytes()
    later = clock.now() + timedelta(days=340)
    monkeypatch.setattr(clock, "_source", later.timestamp)
    assert pki.Authority(tmp_path).client("admin", "admin", []).certificate.read_bytes() != before
