"""Defaults of ``resource.k8s.io``."""

from typing import Any

from wherry.util import clock

Obj = dict[str, Any]


def _request(request: Obj) -> None:
    if not request.get("allocationMode"):
        request["allocationMode"] = "ExactCount"
    if request["allocationMode"] == "ExactCount" and not request.get("count"):
        request["count"] = 1
    for toleration in request.get("tolerations") or ():
        if not toleration.get("operator"):
            toleration["operator"] = "Equal"


def default_claim_spec(spec: Obj) -> None:
    """A request is for one device."""
    for request in (spec.get("devices") or {}).get("requests") or ():
        if request.get("exactly") is not None:
            _request(request["exactly"])
        for alternative in request.get("firstAvailable") or ():
            _request(alternative)


def default_claim(obj: Obj) -> None:
    """Fill in a ResourceClaim."""
    default_claim_spec(obj.setdefault("spec", {}))


def default_claim_template(obj: Obj) -> None:
    """Fill in the claim that a ResourceClaimTemplate describes."""
    default_claim_spec(obj.setdefault("spec", {}).setdefault("spec", {}))


def default_slice(obj: Obj) -> None:
    """A taint remembers when it was added."""
    for device in (obj.get("spec") or {}).get("devices") or ():
        for taint in device.get("taints") or ():
            if not taint.get("timeAdded"):
                taint["timeAdded"] = clock.timestamp()


DEFAULTS = {
    ("resource.k8s.io", "resourceclaims"): default_claim,
    ("resource.k8s.io", "resourceclaimtemplates"): default_claim_template,
    ("resource.k8s.io", "resourceslices"): default_slice,
}
