"""The CSR signing controller: certificates for approved requests of the four built-in signers.

Watches CertificateSigningRequests. Writes their ``status.certificate``, or the condition Failed when a signer does not
sign such a request. Guarantees that nothing is signed that was not approved. Without an authority it does nothing.
"""

import base64
from datetime import timedelta

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CERTIFICATESIGNINGREQUESTS
from wherry.controllers import csr
from wherry.controllers.certificates import CHECKS, Refused, Signer
from wherry.controllers.controller import Controller
from wherry.util import clock


def is_due(request: Object) -> bool:
    """Tell whether a built-in signer has to act on the request."""
    return (
        request["spec"]["signerName"] in CHECKS
        and meta.is_true(request, "Approved")
        and not meta.is_true(request, "Denied")
        and not meta.is_true(request, "Failed")
        and not csr.has_certificate(request)
    )


class CSRSigningController(Controller):
    name = "csrsigning"
    account = csr.ACCOUNT

    def register(self) -> None:
        self._requests = self.watch(CERTIFICATESIGNINGREQUESTS)

    async def reconcile(self, key: str) -> float | None:
        request = self._requests.lister.get(key)
        if request is None or not self.settings.signing_key or not is_due(request):
            return None
        try:
            changed = self._answered(request)
            self.wrote(key, CERTIFICATESIGNINGREQUESTS, await self._write(changed))
        except errors.NotFound:
            return None
        return None

    async def _write(self, changed: Object) -> Object:
        return await self.client.update_status(CERTIFICATESIGNINGREQUESTS, changed)

    def _answered(self, request: Object) -> Object:
        spec, now = request["spec"], clock.now()
        parsed = csr.parsed(request)
        try:
            CHECKS[spec["signerName"]](parsed, spec.get("usages") or ())
        except Refused as error:
            return csr.with_condition(
                request, "Failed", reason="SignerValidationFailure", message=str(error), now=clock.timestamp(now)
            )
        settings = self.settings
        life = timedelta(seconds=settings.cluster_signing_duration)
        signer = Signer.from_pem(settings.signing_cert, settings.signing_key, life)
        pem = signer.sign(parsed, spec.get("usages") or (), seconds=spec.get("expirationSeconds"), now=now)
        encoded = base64.b64encode(pem.encode()).decode()
        return {**request, "status": {**(request.get("status") or {}), "certificate": encoded}}
