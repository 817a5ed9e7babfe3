"""Strategy of CertificateSigningRequests: the request stays, approval and issuing are separate."""

from typing import Any

from wherry.api.strategy.rules import Strategy
from wherry.util import clock

Obj = dict[str, Any]


def _create(obj: Obj) -> None:
    obj["status"] = {}


def _update(obj: Obj, old: Obj) -> None:
    obj["spec"] = old["spec"]


def _approve(obj: Obj, old: Obj) -> None:
    """Approval changes conditions only."""
    given = (obj.get("status") or {}).get("conditions")
    kept = {member: value for member, value in (old.get("status") or {}).items() if member != "conditions"}
    obj["spec"] = old["spec"]
    obj["status"] = {"conditions": given, **kept} if given else kept
    _date_conditions(obj, old)


def _update_status(obj: Obj, old: Obj) -> None:
    """What a signer says; validation refuses changed decisions."""
    _date_conditions(obj, old)


def _date_conditions(obj: Obj, old: Obj) -> None:
    """Give conditions their times: a status that stays keeps the time of its transition."""
    now = clock.timestamp()
    before = (old.get("status") or {}).get("conditions") or []
    dated = []
    for condition in (obj.get("status") or {}).get("conditions") or ():
        known = [c for c in before if all(c.get(m) == condition.get(m) for m in ("type", "status"))]
        times = [c["lastTransitionTime"] for c in known if c.get("lastTransitionTime")]
        found = dict(condition)
        if not found.get("lastUpdateTime"):
            found["lastUpdateTime"] = now
        if not found.get("lastTransitionTime"):
            found["lastTransitionTime"] = times[0] if times else now
        dated.append(found)
    if dated:
        obj["status"]["conditions"] = dated


def _signer(obj: Obj) -> str:
    return (obj.get("spec") or {}).get("signerName") or ""


STRATEGIES = {
    ("certificates.k8s.io", "certificatesigningrequests"): Strategy(
        create=_create,
        update=_update,
        subresources={"approval": _approve, "status": _update_status},
        fields={"spec.signerName": _signer},
    ),
}
