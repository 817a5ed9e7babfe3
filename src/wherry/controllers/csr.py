"""What the controllers of CertificateSigningRequests share."""

import base64

from wherry.api import meta
from wherry.api.meta import Object
from wherry.controllers.certificates import Request

ACCOUNT = "certificate-controller"


def is_decided(request: Object) -> bool:
    """Tell whether somebody approved or denied the request."""
    return meta.is_true(request, "Approved") or meta.is_true(request, "Denied")


def has_certificate(request: Object) -> bool:
    """Tell whether the request has its certificate."""
    return bool((request.get("status") or {}).get("certificate"))


def parsed(request: Object) -> Request:
    """Return the request inside an object. Raises ValueError."""
    return Request(base64.b64decode(request["spec"]["request"]))


def with_condition(request: Object, kind: str, *, reason: str, message: str, now: str) -> Object:
    """Return a copy of the request with a true condition."""
    condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastUpdateTime": now}
    status = request.get("status") or {}
    conditions = meta.with_condition(status.get("conditions") or (), condition, now=now)
    return {**request, "status": {**status, "conditions": conditions}}
