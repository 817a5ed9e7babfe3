"""CertificateApproval, CertificateSigning and CertificateSubjectRestriction.

Who approves or signs a request must be allowed to for its signer (verbs ``approve`` and ``sign`` on ``signers``, by
name or as ``domain/*``), and nobody gets a client certificate of the group ``system:masters``.
"""

from base64 import b64decode
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from wherry.api.resources import CERTIFICATESIGNINGREQUESTS
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import MASTERS_GROUP, Attributes, Authorizer

Object = dict[str, Any]

_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def _signer(request: Object) -> str:
    return (request.get("spec") or {}).get("signerName") or ""


class _SignerPermission(Plugin):
    """Asks for a verb on the signer of the request."""

    verb = ""
    subresource = ""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, operation: Operation) -> bool:
        return operation.operation == UPDATE and operation.concerns(
            CERTIFICATESIGNINGREQUESTS, subresource=self.subresource
        )

    def _check(self, operation: Operation, signer: str) -> None:
        group = CERTIFICATESIGNINGREQUESTS.group
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            asked = Attributes(operation.user, self.verb, group, "*", "signers", name=name)
            if self._authorizer.authorize(asked).allowed:
                return
        why = f'user not permitted to {self.verb} requests with signerName "{signer}"'
        raise forbidden(operation.resource, operation.name, why)


class CertificateApproval(_SignerPermission):
    """Approving and denying need the verb ``approve``."""

    name = "CertificateApproval"
    verb = "approve"
    subresource = "approval"

    async def validate(self, operation: Operation) -> None:
        if operation.obj is not None:
            self._check(operation, _signer(operation.obj))


class CertificateSigning(_SignerPermission):
    """Setting the certificate or conditions needs the verb ``sign``."""

    name = "CertificateSigning"
    verb = "sign"
    subresource = "status"

    async def validate(self, operation: Operation) -> None:
        if operation.obj is None or operation.old is None:
            return
        now, before = (request.get("status") or {} for request in (operation.obj, operation.old))
        if any(now.get(member) != before.get(member) for member in ("certificate", "conditions")):
            self._check(operation, _signer(operation.old))


class CertificateSubjectRestriction(Plugin):
    """No client certificate makes its holder a member of system:masters."""

    name = "CertificateSubjectRestriction"

    def handles(self, operation: Operation) -> bool:
        return operation.operation == CREATE and operation.concerns(CERTIFICATESIGNINGREQUESTS)

    async def validate(self, operation: Operation) -> None:
        if operation.obj is None or _signer(operation.obj) != _CLIENT_SIGNER:
            return
        request = x509.load_pem_x509_csr(b64decode(operation.obj["spec"].get("request") or ""))
        groups = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        if any(group.value == MASTERS_GROUP for group in groups):
            why = f"use of {_CLIENT_SIGNER} signer with {MASTERS_GROUP} group is not allowed"
            raise forbidden(operation.resource, operation.name, why)
