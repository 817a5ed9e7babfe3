"""Strategies of the remaining built-in groups: mostly which kinds count generations and what a status may change."""

from typing import Any

from wherry.api.strategy.rules import Getter, Strategy, content_changed, never, spec_changed

Obj = dict[str, Any]

ALL_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


def _status(**value: Any) -> Any:
    """Return a rule that gives new objects a status."""

    def create(obj: Obj) -> None:
        obj["status"] = {k: v.copy() if isinstance(v, dict) else v for k, v in value.items()}

    return create


def _string(*path: str) -> Getter:
    def get(obj: Obj) -> str:
        value: Any = obj
        for member in path:
            value = (value or {}).get(member)
        return value or ""

    return get


def _spec_getter(member: str) -> Getter:
    return _string("spec", member)


def _driver_changed(obj: Obj, old: Obj) -> bool:
    members = ("tokenRequests", "requiresRepublish", "nodeAllocatableUpdatePeriodSeconds")
    return any((obj.get("spec") or {}).get(m) != (old.get("spec") or {}).get(m) for m in members)


def _allocated(obj: Obj) -> set[tuple[Any, ...]]:
    allocation = (obj.get("status") or {}).get("allocation") or {}
    return {_identity(result) for result in (allocation.get("devices") or {}).get("results") or ()}


def _identity(device: Obj) -> tuple[Any, ...]:
    return tuple(device.get(member) for member in ("driver", "pool", "device", "shareID"))


def _claim_status(obj: Obj, old: Obj) -> None:
    """Devices that are no longer allocated have no status."""
    status = obj.get("status") or {}
    gone = _allocated(old) - _allocated(obj)
    if gone and status.get("devices"):
        kept = [device for device in status["devices"] if _identity(device) not in gone]
        obj["status"] = {member: value for member, value in status.items() if member != "devices"}
        if kept:
            obj["status"]["devices"] = kept


STRATEGIES = {
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): Strategy(
        generation=content_changed, unconditional_update=False
    ),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): Strategy(
        generation=content_changed, unconditional_update=False
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): Strategy(
        create=_status(), generation=spec_changed, unconditional_update=False, status_keeps_metadata=ALL_METADATA
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): Strategy(
        generation=spec_changed, unconditional_update=False
    ),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"): Strategy(
        generation=spec_changed, unconditional_update=False
    ),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"): Strategy(
        generation=spec_changed, unconditional_update=False
    ),
    ("apiregistration.k8s.io", "apiservices"): Strategy(
        create=_status(), unconditional_update=False, status_keeps_metadata=ALL_METADATA
    ),
    ("autoscaling", "horizontalpodautoscalers"): Strategy(create=_status(desiredReplicas=0, currentMetrics=None)),
    ("coordination.k8s.io", "leases"): Strategy(unconditional_update=False, create_on_update=True),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): Strategy(
        create=_status(), generation=spec_changed, status_keeps_metadata=ALL_METADATA
    ),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): Strategy(
        create=_status(), generation=spec_changed, status_keeps_metadata=ALL_METADATA
    ),
    ("networking.k8s.io", "ingresses"): Strategy(create=_status(loadBalancer={}), generation=spec_changed),
    ("networking.k8s.io", "ingressclasses"): Strategy(generation=spec_changed),
    ("networking.k8s.io", "networkpolicies"): Strategy(generation=spec_changed),
    ("networking.k8s.io", "servicecidrs"): Strategy(create=_status()),
    ("node.k8s.io", "runtimeclasses"): Strategy(unconditional_update=False),
    ("policy", "poddisruptionbudgets"): Strategy(
        create=_status(disruptionsAllowed=0, currentHealthy=0, desiredHealthy=0, expectedPods=0),
        generation=spec_changed,
        unconditional_update=False,
    ),
    ("rbac.authorization.k8s.io", "roles"): Strategy(create_on_update=True),
    ("rbac.authorization.k8s.io", "rolebindings"): Strategy(create_on_update=True),
    ("rbac.authorization.k8s.io", "clusterroles"): Strategy(create_on_update=True),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): Strategy(create_on_update=True),
    ("resource.k8s.io", "deviceclasses"): Strategy(generation=spec_changed),
    ("resource.k8s.io", "resourceclaims"): Strategy(
        create=_status(), subresources={"status": _claim_status}, status_keeps_metadata=ALL_METADATA
    ),
    ("resource.k8s.io", "resourceslices"): Strategy(
        generation=spec_changed,
        fields={"spec.nodeName": _spec_getter("nodeName"), "spec.driver": _spec_getter("driver")},
    ),
    ("scheduling.k8s.io", "priorityclasses"): Strategy(generation=never),
    ("storage.k8s.io", "csidrivers"): Strategy(
        generation=_driver_changed, first_generation=False, unconditional_update=False
    ),
    ("storage.k8s.io", "csinodes"): Strategy(unconditional_update=False),
    ("storage.k8s.io", "csistoragecapacities"): Strategy(unconditional_update=False),
    ("storage.k8s.io", "volumeattachments"): Strategy(
        create=_status(attached=False), unconditional_update=False, status_keeps_metadata=ALL_METADATA
    ),
}
