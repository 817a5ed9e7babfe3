"""Who may approve and sign certificate requests, and for whom."""

from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wherry.api.errors import Forbidden
from wherry.api.resources import CERTIFICATESIGNINGREQUESTS
from wherry.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation
from wherry.apiserver.attributes import Attributes, Decision, UserInfo


class Allows:
    """Allows one verb on one signer."""

    def __init__(self, verb: str, signer: str) -> None:
        self._allowed = (verb, signer)

    def authorize(self, attributes: Attributes) -> Decision:
        return Decision((attributes.verb, attributes.name) == self._allowed and attributes.resource == "signers")


def operation(request: dict[str, Any], *, old: dict[str, Any] | None = None, subresource: str = "") -> Operation:
    kind = CREATE if old is None else UPDATE
    return Operation(kind, CERTIFICATESIGNINGREQUESTS, subresource, "", "c", UserInfo("u"), obj=request, old=old)


def request_for(signer: str, group: str = "dev") -> dict[str, Any]:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)])
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    return {"spec": {"signerName": signer, "request": b64encode(pem).decode()}}


@pytest.mark.parametrize("allowed", ["a.b/c", "a.b/*"])
def test_approving_needs_permission_for_the_signer_or_its_domain(allowed: str) -> None:
    request = request_for("a.b/c")
    asked = operation(request, old=request, subresource="approval")
    CertificateApproval(Allows("approve", allowed)).validate(asked)
    with pytest.raises(Forbidden, match=r'user not permitted to approve requests with signerName "a.b/c"'):
        CertificateApproval(Allows("sign", allowed)).validate(asked)


def test_only_what_changes_the_certificate_or_conditions_signs() -> None:
    old = request_for("a.b/c")
    issued = {**old, "status": {"certificate": "eA=="}}
    plugin = CertificateSigning(Allows("approve", "a.b/c"))
    plugin.validate(operation(old, old=old, subresource="status"))
    with pytest.raises(Forbidden, match="user not permitted to sign"):
        plugin.validate(operation(issued, old=old, subresource="status"))


def test_nobody_gets_a_certificate_of_the_masters() -> None:
    plugin = CertificateSubjectRestriction()
    plugin.validate(operation(request_for("kubernetes.io/kube-apiserver-client")))
    plugin.validate(operation(request_for("example.com/own", "system:masters")))
    with pytest.raises(Forbidden, match="system:masters group is not allowed"):
        plugin.validate(operation(request_for("kubernetes.io/kube-apiserver-client", "system:masters")))
