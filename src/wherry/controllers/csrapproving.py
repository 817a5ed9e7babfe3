"""The CSR approving controller: approves the client certificates of kubelets.

Watches CertificateSigningRequests. Writes the condition Approved. Guarantees that only a request of the form of a
kubelet's client certificate is approved, and only when its user may create such (``certificatesigningrequests/
nodeclient``), or may renew its own (``selfnodeclient``). Denies nothing: people decide on the rest.
"""

from wherry.api import errors
from wherry.api.meta import Object
from wherry.api.resources import CERTIFICATESIGNINGREQUESTS, builtin
from wherry.controllers import csr
from wherry.controllers.certificates import Refused, check_kubelet_client
from wherry.controllers.controller import Controller
from wherry.util import clock

_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
_REVIEWS = builtin("authorization.k8s.io", "v1", "subjectaccessreviews")


def permissions(request: Object) -> dict[str, str]:
    """Return the subresources of which one must be allowed, each with the message of the approval; empty: none is."""
    spec = request["spec"]
    if spec["signerName"] != _SIGNER or csr.is_decided(request) or csr.has_certificate(request):
        return {}
    try:
        parsed = csr.parsed(request)
        check_kubelet_client(parsed, spec.get("usages") or ())
    except (ValueError, Refused):
        return {}
    result = {}
    if spec.get("username") == parsed.common_name:
        result["selfnodeclient"] = "Auto approving self kubelet client certificate after SubjectAccessReview."
    result["nodeclient"] = "Auto approving kubelet client certificate after SubjectAccessReview."
    return result


class CSRApprovingController(Controller):
    name = "csrapproving"
    account = csr.ACCOUNT

    def register(self) -> None:
        self._requests = self.watch(CERTIFICATESIGNINGREQUESTS)

    async def reconcile(self, key: str) -> float | None:
        request = self._requests.lister.get(key)
        if request is None:
            return None
        for subresource, message in permissions(request).items():
            if await self._allowed(request["spec"], subresource):
                now = clock.timestamp()
                changed = csr.with_condition(request, "Approved", reason="AutoApproved", message=message, now=now)
                try:
                    answer = await self.client.update(CERTIFICATESIGNINGREQUESTS, changed, subresource="approval")
                except errors.NotFound:
                    return None
                self.wrote(key, CERTIFICATESIGNINGREQUESTS, answer)
                return None
        return None

    async def _allowed(self, spec: Object, subresource: str) -> bool:
        asked: Object = {
            "user": spec.get("username", ""),
            "resourceAttributes": {
                "group": CERTIFICATESIGNINGREQUESTS.group,
                "resource": CERTIFICATESIGNINGREQUESTS.plural,
                "version": "*",
                "verb": "create",
                "subresource": subresource,
            },
        }
        for member in ("uid", "groups", "extra"):
            if spec.get(member):
                asked[member] = spec[member]
        review = {"kind": "SubjectAccessReview", "apiVersion": _REVIEWS.api_version, "spec": asked}
        answer = await self.client.create(_REVIEWS, {**review, "metadata": {}})
        return bool((answer.get("status") or {}).get("allowed"))
