"""The CSR cleaner: deletes CertificateSigningRequests that are of no use any more.

Watches them. Deletes those that nobody decided on for a day, those decided on or failed an hour ago, and those whose
certificate has ended.
"""

import base64
from datetime import datetime

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CERTIFICATESIGNINGREQUESTS
from wherry.controllers import csr
from wherry.controllers.certificates import expires
from wherry.controllers.controller import Controller
from wherry.util import clock

_PENDING = 24 * 3600.0
_DECIDED = 3600.0


def expires_in(request: Object, *, now: datetime) -> float:
    """Return the seconds until the request is to be deleted."""
    conditions = (request.get("status") or {}).get("conditions") or ()
    if not conditions:
        return _PENDING - (now - clock.parse(request["metadata"]["creationTimestamp"])).total_seconds()
    decided = [
        clock.parse(entry.get("lastUpdateTime") or request["metadata"]["creationTimestamp"])
        for entry in conditions
        if entry["type"] in ("Approved", "Denied", "Failed")
    ]
    left = _DECIDED - (now - min(decided, default=now)).total_seconds()
    if csr.has_certificate(request):
        try:
            left = min(left, (expires(base64.b64decode(request["status"]["certificate"])) - now).total_seconds())
        except ValueError:
            return left
    return left


class CSRCleanerController(Controller):
    name = "csrcleaner"
    account = csr.ACCOUNT
    workers = 1

    def register(self) -> None:
        self._requests = self.watch(CERTIFICATESIGNINGREQUESTS)

    async def reconcile(self, key: str) -> float | None:
        request = self._requests.lister.get(key)
        if request is None:
            return None
        left = expires_in(request, now=clock.now())
        if left > 0:
            return left
        options = {"preconditions": {"uid": meta.uid(request)}}
        try:
            await self.client.delete(CERTIFICATESIGNINGREQUESTS, key, options=options)
        except (errors.NotFound, errors.Conflict):
            return None
        return None
