"""Strategy of Pods: QoS class, scheduling gates, which part of a pod each subresource may change."""

from typing import Any

from wherry.api import apparmor
from wherry.api.quantity import Quantity
from wherry.api.strategy.rules import Strategy, spec_changed

Obj = dict[str, Any]

_QOS_RESOURCES = ("cpu", "memory")


def qos_class(pod: Obj) -> str:
    """Return the QoS class that the resources of a pod make (core ``helper/qos``)."""
    spec = pod["spec"]
    of_pod = spec.get("resources") or {}
    if of_pod.get("requests") or of_pod.get("limits"):
        return _class_of([of_pod])
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return _class_of([c.get("resources") or {} for c in containers])


def _class_of(found: list[Obj]) -> str:
    requests: dict[str, list[str]] = {}
    limits: dict[str, list[str]] = {}
    guaranteed = True
    for resources in found:
        limited = set()
        for name in _QOS_RESOURCES:
            for total, given in ((requests, resources.get("requests")), (limits, resources.get("limits"))):
                amount = (given or {}).get(name)
                if amount is not None and Quantity.parse(amount):
                    total.setdefault(name, []).append(amount)
                    if total is limits:
                        limited.add(name)
        guaranteed = guaranteed and len(limited) == len(_QOS_RESOURCES)
    if not requests and not limits:
        return "BestEffort"
    if guaranteed and all(_same(requests.get(n, []), limits[n]) for n in _QOS_RESOURCES):
        return "Guaranteed"
    return "Burstable"


def _same(requests: list[str], limits: list[str]) -> bool:
    """Tell whether amounts have the same sum; mostly they are written the same."""
    return requests == limits or sum(Quantity.parse(a).value for a in requests) == sum(
        Quantity.parse(a).value for a in limits
    )


def _create(pod: Obj) -> None:
    spec = pod["spec"]
    status: Obj = {"phase": "Pending", "qosClass": qos_class(pod)}
    pod["status"] = status
    if spec.get("schedulingGates"):
        status["conditions"] = [_gated()]
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    _mix_in_match_label_keys(pod)
    _sync_apparmor(pod)


def _gated() -> Obj:
    return {
        "type": "PodScheduled", "status": "False", "lastProbeTime": None, "lastTransitionTime": None,
        "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
    }  # fmt: skip


def _mix_in_match_label_keys(pod: Obj) -> None:
    """The values of this pod's own labels narrow the selectors that name them (matchLabelKeys)."""
    labels = pod["metadata"].get("labels") or {}
    spec = pod["spec"]
    for constraint in spec.get("topologySpreadConstraints") or ():
        if constraint.get("matchLabelKeys") and constraint.get("labelSelector") is not None:
            _narrow(constraint["labelSelector"], labels, constraint["matchLabelKeys"], "In")
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        weighted = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms = [*(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())]
        terms += [w.get("podAffinityTerm") or {} for w in weighted]
        for term in terms:
            if term.get("labelSelector") is not None:
                _narrow(term["labelSelector"], labels, term.get("matchLabelKeys") or (), "In")
                _narrow(term["labelSelector"], labels, term.get("mismatchLabelKeys") or (), "NotIn")


def _narrow(selector: Obj, labels: dict[str, str], keys: Any, operator: str) -> None:
    added = [{"key": k, "operator": operator, "values": [labels[k]]} for k in keys if k in labels]
    if added:
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *added]


def _sync_apparmor(pod: Obj) -> None:
    """A profile given by the old annotation becomes the field, a profile given by the field the annotation."""
    spec, meta = pod["spec"], pod["metadata"]
    annotations = meta.get("annotations") or {}
    pod_profile = apparmor.own_profile(spec)
    if (spec.get("os") or {}).get("name") == "windows":
        return
    for members in apparmor.GROUPS:
        for container in spec.get(members) or ():
            key = apparmor.PREFIX + container.get("name", "")
            own = apparmor.own_profile(container)
            written = annotations.get(key)
            if own is None and written is not None:
                profile = apparmor.profile_of(written)
                if profile is not None and profile != pod_profile:
                    context = container.get("securityContext")
                    container["securityContext"] = {**(context or {}), "appArmorProfile": profile}
            elif written is None and (own or pod_profile):
                value = apparmor.annotation_of(own or pod_profile or {})
                if value:
                    annotations = {**annotations, key: value}
    if annotations:
        meta["annotations"] = annotations


def _update(pod: Obj, old: Obj) -> None:
    if (pod["spec"].get("terminationGracePeriodSeconds") or 0) < 0:
        pod["spec"]["terminationGracePeriodSeconds"] = 1


def _status(pod: Obj, old: Obj) -> None:
    """The status keeps its QoS class; old kubelets must not touch owners."""
    meta, old_meta = pod["metadata"], old["metadata"]
    meta.pop("deletionTimestamp", None)
    if "ownerReferences" in old_meta:
        meta["ownerReferences"] = old_meta["ownerReferences"]
    else:
        meta.pop("ownerReferences", None)
    status = pod.setdefault("status", {})
    if not status.get("qosClass") and (old.get("status") or {}).get("qosClass"):
        status["qosClass"] = old["status"]["qosClass"]


def _ephemeral_containers(pod: Obj, old: Obj) -> None:
    """Only the ephemeral containers of the new object count."""
    added = pod["spec"].get("ephemeralContainers")
    pod["spec"] = {**old["spec"]}
    if added is None:
        pod["spec"].pop("ephemeralContainers", None)
    else:
        pod["spec"]["ephemeralContainers"] = added
    pod["metadata"] = {**old["metadata"], **_of_request(pod)}


def _of_request(pod: Obj) -> Obj:
    return {k: v for k, v in pod["metadata"].items() if k in ("resourceVersion", "managedFields")}


def _resize(pod: Obj, old: Obj) -> None:
    """Only resources and resize policies of the new object count; other containers are for the validation to refuse."""
    given, was = pod["spec"], old["spec"]
    pod["metadata"] = {**old["metadata"], **_of_request(pod)}
    if any(
        len(given.get(members) or ()) != len(was.get(members) or ()) for members in ("containers", "initContainers")
    ):
        return
    spec = {**was}
    for members in ("containers", "initContainers"):
        if given.get(members):
            spec[members] = _resized(was[members], given[members])
    spec.pop("resources", None)
    if given.get("resources") is not None:
        spec["resources"] = given["resources"]
    pod["spec"] = spec


def _resized(old: list[Obj], new: list[Obj]) -> list[Obj]:
    if any(o.get("name") != n.get("name") for o, n in zip(old, new, strict=True)):
        return new
    found = [{**o, "resources": n.get("resources") or {}} for o, n in zip(old, new, strict=True)]
    for container, given in zip(found, new, strict=True):
        container.pop("resizePolicy", None)
        if "resizePolicy" in given:
            container["resizePolicy"] = given["resizePolicy"]
    return found


def _spec(member: str) -> Any:
    return lambda pod: str(pod["spec"].get(member) or "")


def _of_status(member: str) -> Any:
    return lambda pod: str((pod.get("status") or {}).get(member) or "")


STRATEGIES = {
    ("", "pods"): Strategy(
        create=_create,
        update=_update,
        subresources={"status": _status, "ephemeralcontainers": _ephemeral_containers, "resize": _resize},
        generation=spec_changed,
        fields={
            "spec.nodeName": _spec("nodeName"),
            "spec.restartPolicy": _spec("restartPolicy"),
            "spec.schedulerName": _spec("schedulerName"),
            "spec.serviceAccountName": _spec("serviceAccountName"),
            "spec.hostNetwork": lambda pod: "true" if pod["spec"].get("hostNetwork") else "false",
            "status.phase": _of_status("phase"),
            "status.podIP": _of_status("podIP"),
            "status.podIPs": _of_status("podIP"),
            "status.nominatedNodeName": _of_status("nominatedNodeName"),
        },
    ),
}
