"""Cells of the kinds that administer a cluster: RBAC, admission, certificates, flow control, API services, classes."""

from datetime import timedelta
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.printers.text import NONE, UNSET, age, duration, go_selector, name, spec, status


def api_service(obj: Object) -> list[Any]:
    service = spec(obj).get("service")
    available = "Unknown"
    found = meta.condition(obj, "Available")
    if found is not None:
        available = found.get("status", "")
        if available != "True":
            available = f"{available} ({found.get('reason', '')})"
    return [name(obj), f"{service['namespace']}/{service['name']}" if service else "Local", available, age(obj)]


def role_binding(obj: Object) -> list[Any]:
    ref = obj.get("roleRef") or {}
    subjects = obj.get("subjects") or ()
    accounts = [f"{s.get('namespace', '')}/{s['name']}" for s in subjects if s["kind"] == "ServiceAccount"]
    return [
        name(obj),
        f"{ref.get('kind', '')}/{ref.get('name', '')}",
        age(obj),
        ", ".join(s["name"] for s in subjects if s["kind"] == "User"),
        ", ".join(s["name"] for s in subjects if s["kind"] == "Group"),
        ", ".join(accounts),
    ]


def certificate_signing_request(obj: Object) -> list[Any]:
    seconds = spec(obj).get("expirationSeconds")
    return [
        name(obj),
        age(obj),
        spec(obj).get("signerName") or NONE,
        spec(obj).get("username", ""),
        NONE if seconds is None else duration(timedelta(seconds=seconds)),
        _certificate_state(obj),
    ]


def _certificate_state(obj: Object) -> str:
    present = {c.get("type") for c in status(obj).get("conditions") or ()}
    words = [word for word in ("Approved", "Denied") if word in present] or ["Pending"]
    if "Denied" in present and "Approved" in present:
        words = ["Denied"]
    if "Failed" in present:
        words.append("Failed")
    if status(obj).get("certificate"):
        words.append("Issued")
    return ",".join(words)


def webhook_configuration(obj: Object) -> list[Any]:
    return [name(obj), len(obj.get("webhooks") or ()), age(obj)]


def _admission_policy(field: str) -> Any:
    def cells(obj: Object) -> list[Any]:
        kind = spec(obj).get("paramKind")
        shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
        return [name(obj), len(spec(obj).get(field) or ()), shown, age(obj)]

    return cells


def policy_binding(obj: Object) -> list[Any]:
    ref = spec(obj).get("paramRef") or {}
    shown = UNSET
    if ref.get("name"):
        shown = f"{ref.get('namespace') or '*'}/{ref['name']}"
    elif ref.get("selector") is not None:
        shown = go_selector(ref["selector"])
    return [name(obj), spec(obj).get("policyName", ""), shown, age(obj)]


def priority_class(obj: Object) -> list[Any]:
    default = bool(obj.get("globalDefault"))
    return [name(obj), obj.get("value", 0), default, age(obj), obj.get("preemptionPolicy", "")]


def runtime_class(obj: Object) -> list[Any]:
    return [name(obj), obj.get("handler", ""), age(obj)]


def flow_schema(obj: Object) -> list[Any]:
    dangling = meta.condition(obj, "Dangling")
    return [
        name(obj),
        (spec(obj).get("priorityLevelConfiguration") or {}).get("name") or NONE,
        spec(obj).get("matchingPrecedence", 0),
        (spec(obj).get("distinguisherMethod") or {}).get("type") or NONE,
        age(obj),
        "?" if dangling is None else dangling.get("status", ""),
    ]


def priority_level(obj: Object) -> list[Any]:
    settings = spec(obj).get("limited") or {}
    queuing = (settings.get("limitResponse") or {}).get("queuing") or {}
    shares = settings.get("nominalConcurrencyShares")
    return [
        name(obj),
        spec(obj).get("type", ""),
        NONE if shares is None else shares,
        *(queuing.get(field, NONE) for field in ("queues", "handSize", "queueLengthLimit")),
        age(obj),
    ]


_RBAC, _ADMISSION, _FLOW = "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"

CELLS = {
    ("apiregistration.k8s.io", "apiservices"): api_service,
    (_RBAC, "rolebindings"): role_binding,
    (_RBAC, "clusterrolebindings"): role_binding,
    ("certificates.k8s.io", "certificatesigningrequests"): certificate_signing_request,
    (_ADMISSION, "mutatingwebhookconfigurations"): webhook_configuration,
    (_ADMISSION, "validatingwebhookconfigurations"): webhook_configuration,
    (_ADMISSION, "mutatingadmissionpolicies"): _admission_policy("mutations"),
    (_ADMISSION, "validatingadmissionpolicies"): _admission_policy("validations"),
    (_ADMISSION, "mutatingadmissionpolicybindings"): policy_binding,
    (_ADMISSION, "validatingadmissionpolicybindings"): policy_binding,
    ("scheduling.k8s.io", "priorityclasses"): priority_class,
    ("node.k8s.io", "runtimeclasses"): runtime_class,
    (_FLOW, "flowschemas"): flow_schema,
    (_FLOW, "prioritylevelconfigurations"): priority_level,
}
