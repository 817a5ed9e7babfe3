"""CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may have certificates issued."""

import base64
import binascii

from cryptography import x509

from wherry.api.resources import CERTIFICATESIGNINGREQUESTS
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import MASTERS_GROUP, Attributes, Authorizer, UserInfo

_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def parsed(request: str) -> x509.CertificateSigningRequest:
    """Return the request that a ``spec.request`` holds. Raises ValueError."""
    try:
        return x509.load_pem_x509_csr(base64.b64decode(request))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def may_use(authorizer: Authorizer, user: UserInfo, verb: str, signer: str) -> bool:
    """Tell whether a user may `verb` (approve, sign, attest) for a signer, or for all of its domain."""
    domain = signer.partition("/")[0]
    return any(
        authorizer.authorize(Attributes(user, verb, "certificates.k8s.io", "*", "signers", name=name)).allowed
        for name in (signer, f"{domain}/*")
    )


class CertificateApproval(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/certificates/approval``."""

    name = "CertificateApproval"
    resources = (CERTIFICATESIGNINGREQUESTS,)
    operations = frozenset({UPDATE})

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, operation: Operation) -> bool:
        return operation.subresource == "approval"

    def validate(self, operation: Operation) -> None:
        signer = ((operation.old or {}).get("spec") or {}).get("signerName") or ""
        if not may_use(self._authorizer, operation.user, "approve", signer):
            why = f'user not permitted to approve requests with signerName "{signer}"'
            raise forbidden(operation.resource, operation.name, why)


class CertificateSigning(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/certificates/signing``."""

    name = "CertificateSigning"
    resources = (CERTIFICATESIGNINGREQUESTS,)
    operations = frozenset({UPDATE})

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, operation: Operation) -> bool:
        return operation.subresource == "status"

    def validate(self, operation: Operation) -> None:
        new, old = operation.obj or {}, operation.old or {}
        if (new.get("status") or {}).get("certificate") == (old.get("status") or {}).get("certificate"):
            return
        signer = (old.get("spec") or {}).get("signerName") or ""
        if not may_use(self._authorizer, operation.user, "sign", signer):
            why = f'user not permitted to sign requests with signerName "{signer}"'
            raise forbidden(operation.resource, operation.name, why)


class CertificateSubjectRestriction(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/certificates/subjectrestriction``."""

    name = "CertificateSubjectRestriction"
    resources = (CERTIFICATESIGNINGREQUESTS,)
    operations = frozenset({CREATE})

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def validate(self, operation: Operation) -> None:
        spec = (operation.obj or {}).get("spec") or {}
        if spec.get("signerName") != _CLIENT_SIGNER:
            return
        try:
            subject = parsed(spec.get("request") or "").subject
        except ValueError as error:
            raise forbidden(operation.resource, operation.name, f"failed to parse CSR: {error}") from None
        organizations = subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        if any(found.value == MASTERS_GROUP for found in organizations):
            why = f"use of {_CLIENT_SIGNER} signer with {MASTERS_GROUP} group is not allowed"
            raise forbidden(operation.resource, operation.name, why)
