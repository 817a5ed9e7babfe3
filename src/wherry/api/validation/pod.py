"""Pods: what may be created, and what little may be changed later."""

from typing import Any

from wherry.api import field, meta
from wherry.api.field import FieldError
from wherry.api.strategy.pods import qos_class
from wherry.api.validation import checks
from wherry.api.validation import scheduling as where
from wherry.api.validation.containers import image_padding
from wherry.api.validation.pod_platform import APPARMOR, profile_annotations
from wherry.api.validation.pod_spec import MIRROR, pod_annotations, pod_spec
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import MAX_INT32, immutable, named

Obj = dict[str, Any]
Errors = list[FieldError]

_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def _whole(pod: Obj) -> Errors:
    """The rules of a pod at any time."""
    spec, found = pod["spec"], pod["metadata"].get("annotations")
    errors = pod_annotations(found, spec, "metadata.annotations") if found else []
    errors += pod_spec(spec, pod_name=pod["metadata"].get("name", ""), is_pod=True)
    if not spec.get("serviceAccountName"):
        errors += _tokens_without_account(spec)
    for members in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(members) or ()):
            errors += image_padding(container, f"spec.{members}[{i}]")
    return errors


def _tokens_without_account(spec: Obj) -> Errors:
    errors: Errors = []
    for i, volume in enumerate(spec.get("volumes") or ()):
        for j, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if source.get("serviceAccountToken") is not None:
                at = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                errors.append(field.forbidden(at, "must not be specified when serviceAccountName is not set"))
    return errors


def _create(pod: Obj) -> Errors:
    errors = _whole(pod)
    spec = pod["spec"]
    if spec.get("ephemeralContainers"):
        errors.append(field.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        detail = "cannot be set until all schedulingGates have been cleared"
        errors.append(field.forbidden("spec.nodeName", detail))
    annotations = pod["metadata"].get("annotations")
    return errors + profile_annotations(annotations, spec, "spec") if annotations else errors


def _update(pod: Obj, old: Obj) -> Errors:
    errors = _whole(pod) + _annotation_updates(pod, old)
    spec, old_spec = pod["spec"], old["spec"]
    for members in ("containers", "initContainers"):
        found, before = spec.get(members) or [], old_spec.get(members) or []
        if len(found) != len(before):
            detail = "pod updates may not add or remove containers"
            return [*errors, field.forbidden(f"spec.{members}", detail)]
        for i, container in enumerate(found):
            at = f"spec.{members}[{i}]"
            errors += image_padding(container, at) if container.get("image") else [field.required(f"{at}.image")]
    wrong, stop = _deadline(spec.get("activeDeadlineSeconds"), old_spec.get("activeDeadlineSeconds"))
    errors += wrong
    if stop:
        return errors
    errors += _only_added_tolerations(spec.get("tolerations") or [], old_spec.get("tolerations") or [])
    errors += _only_deleted_gates(spec.get("schedulingGates") or [], old_spec.get("schedulingGates") or [])
    if spec == old_spec:
        return errors
    munged = _without_updatable(spec, old_spec)
    if old_spec.get("schedulingGates"):
        errors += _gated_changes(munged, old_spec)
    if munged != old_spec:
        errors.append(field.forbidden("spec", f"pod updates may not change fields other than {_UPDATABLE}"))
    return errors


def _deadline(new: int | None, old: int | None) -> tuple[Errors, bool]:
    """It may be set once, and made shorter; the second value tells to look no further."""
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is None:
            return [], False
        return [field.invalid(path, None, "must not update from a positive integer to nil value")], False
    if not 0 <= new <= MAX_INT32:
        return [field.invalid(path, new, f"must be between 0 and {MAX_INT32}, inclusive")], True
    if old is not None and old < new:
        return [field.invalid(path, new, "must be less than or equal to previous value")], True
    return [], False


def _only_added_tolerations(new: list[Obj], old: list[Obj]) -> Errors:
    for before in old:
        if not any(where.matches_toleration(before, after) for after in new):
            detail = "existing toleration can not be modified except its tolerationSeconds"
            return [field.forbidden("spec.tolerations", detail)]
    return where.tolerations(new, "spec.tolerations")


def _only_deleted_gates(new: list[Obj], old: list[Obj]) -> Errors:
    before = {gate.get("name") for gate in old}
    return [
        field.forbidden(
            f"spec.schedulingGates[{i}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for i, gate in enumerate(new)
        if gate.get("name") not in before
    ]


def _restored(spec: Obj, old: Obj, *members: str) -> None:
    for member in members:
        if member in old:
            spec[member] = old[member]
        else:
            spec.pop(member, None)


def _without_updatable(spec: Obj, old: Obj) -> Obj:
    """Return the new spec with the old values of what may change."""
    munged = dict(spec)
    for members in ("containers", "initContainers"):
        if spec.get(members):
            pairs = zip(spec[members], old[members], strict=True)
            munged[members] = [{**new, "image": was.get("image", "")} for new, was in pairs]
    _restored(munged, old, "activeDeadlineSeconds", "schedulingGates", "tolerations")
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        _restored(munged, old, "terminationGracePeriodSeconds")
    return munged


def _gated_changes(spec: Obj, old: Obj) -> Errors:
    """A pod that is gated may still be told more narrowly where to run; what is checked here is put back in `spec`."""
    errors: Errors = []
    selector, before = spec.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if any(selector.get(k) != v for k, v in before.items()):
        detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        errors.append(field.invalid("spec.nodeSelector", spec.get("nodeSelector"), detail))
    _restored(spec, old, "nodeSelector")
    affinity, old_affinity = spec.get("affinity") or {}, old.get("affinity") or {}
    node, old_node = affinity.get("nodeAffinity"), old_affinity.get("nodeAffinity")
    if node != old_node:
        errors += _node_affinity_change(node or {}, old_node or {})
        merged = {k: v for k, v in affinity.items() if k != "nodeAffinity"}
        if old_node is not None:
            merged["nodeAffinity"] = old_node
        spec["affinity"] = merged
        if not merged and "affinity" not in old:
            spec.pop("affinity")
    return errors


def _node_affinity_change(new: Obj, old: Obj) -> Errors:
    member = "requiredDuringSchedulingIgnoredDuringExecution"
    path = f"spec.affinity.nodeAffinity.{member}"
    required, before = new.get(member), old.get(member)
    if before is None:
        return []
    terms, old_terms = (required or {}).get("nodeSelectorTerms") or [], before.get("nodeSelectorTerms") or []
    if not old_terms:
        return []
    if len(terms) != len(old_terms):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [field.invalid(f"{path}.nodeSelectorTerms", terms, detail)]
    detail = "only additions are allowed (no mutations or deletions)"
    return [
        field.invalid(f"{path}.nodeSelectorTerms[{i}]", term, detail)
        for i, (term, was) in enumerate(zip(terms, old_terms, strict=True))
        if not _has_only_additions(term, was)
    ]


def _has_only_additions(term: Obj, was: Obj) -> bool:
    pairs = [(term.get(kind) or [], was.get(kind) or []) for kind in ("matchExpressions", "matchFields")]
    if not any(expected for _, expected in pairs):
        # A term without requirements matches nothing, and must not begin to match.
        return not any(found for found, _ in pairs)
    return all(found[: len(expected)] == expected for found, expected in pairs)


def _annotation_updates(pod: Obj, old: Obj) -> Errors:
    """Annotations that the kubelet acted on cannot change."""
    errors: Errors = []
    new, before = (o["metadata"].get("annotations") or {} for o in (pod, old))
    for key, value in before.items():
        if new.get(key) == value:
            continue
        if key.startswith(APPARMOR):
            detail = "may not remove or update AppArmor annotations"
            errors.append(field.forbidden(f"metadata.annotations[{key}]", detail))
        if key == MIRROR:
            detail = "may not remove or update mirror pod annotation"
            errors.append(field.forbidden(f"metadata.annotations[{key}]", detail))
    for key in new.keys() - before.keys():
        if key.startswith(APPARMOR):
            errors.append(field.forbidden(f"metadata.annotations[{key}]", "may not add AppArmor annotations"))
        if key == MIRROR:
            errors.append(field.forbidden(f"metadata.annotations[{key}]", "may not add mirror pod annotation"))
    return errors + pod_annotations(new, pod["spec"], "metadata.annotations")


def _update_status(pod: Obj, old: Obj) -> Errors:
    errors = _annotation_updates(pod, old)
    status, was = pod.get("status") or {}, old.get("status") or {}
    for i, condition in enumerate(status.get("conditions") or ()):
        kind = condition.get("type", "")
        if kind not in ("PodScheduled", "Ready", "Initialized"):
            # The path is upstream's.
            errors += named(kind, f"metadata.conditions[{i}].Type", checks.qualified_name)
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != was.get("nominatedNodeName"):
        errors += named(nominated, "status.nominatedNodeName", checks.subdomain)
    errors += immutable(status.get("qosClass", ""), was.get("qosClass", ""), "status.qosClass")
    policy = old["spec"].get("restartPolicy")
    for member in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        errors += _transitions(status.get(member) or [], was.get(member) or [], f"status.{member}", policy, old["spec"])
    errors += _claim_statuses(status.get("resourceClaimStatuses") or [], pod["spec"].get("resourceClaims") or [])
    errors += _ips(status.get("podIPs") or [], was.get("podIPs") or [], "status.podIPs")
    hosts = status.get("hostIPs") or []
    if hosts and hosts[0].get("ip", "") != status.get("hostIP", ""):
        errors.append(field.invalid("status.hostIPs[0].ip", hosts[0].get("ip", ""), "must be equal to `hostIP`"))
    return errors + _ips(hosts, was.get("hostIPs") or [], "status.hostIPs")


def _claim_statuses(found: list[Obj], claims: list[Obj]) -> Errors:
    errors: Errors = []
    known, seen = {c.get("name", "") for c in claims}, set[str]()
    for i, status in enumerate(found):
        at, name = f"status.resourceClaimStatuses[{i}].name", status.get("name", "")
        if name not in known:
            errors.append(field.invalid(at, name, "must match the name of an entry in `spec.resourceClaims`"))
        if name in seen:
            errors.append(field.duplicate(at, name))
        seen.add(name)
        if status.get("resourceClaimName") is not None:
            errors += named(status["resourceClaimName"], at, checks.subdomain)
    return errors


def _restarts_all(container: Obj) -> bool:
    return any(rule.get("action") == "RestartAllContainers" for rule in container.get("restartPolicyRules") or ())


def _runs_again(container: Obj, ended: Obj) -> bool:
    """Tell whether a container's own policy or rules, which go before the pod's, start it again after an end."""
    code = ended.get("exitCode") or 0
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        if (code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return True
    own = container.get("restartPolicy")
    return own == "Always" or (own == "OnFailure" and code != 0)


def _transitions(new: list[Obj], old: list[Obj], path: str, policy: str | None, spec: Obj) -> Errors:
    """A container that has ended for good stays ended."""
    containers = {c.get("name"): c for kind in ("initContainers", "containers") for c in spec.get(kind) or ()}
    lasting = path == "status.ephemeralContainerStatuses"
    if not lasting and any(_restarts_all(container) for container in containers.values()):
        return []
    if path == "status.containerStatuses" and policy == "Always":
        return []
    errors: Errors = []
    for i, before in enumerate(old):
        ended = (before.get("state") or {}).get("terminated")
        if ended is None or (not lasting and _runs_again(containers.get(before.get("name")) or {}, ended)):
            continue
        if not lasting and ended.get("exitCode") and policy != "Never":
            continue
        if path == "status.initContainerStatuses" and policy == "Always":
            continue
        for after in new:
            if after.get("name") == before.get("name") and (after.get("state") or {}).get("terminated") is None:
                detail = "may not be transitioned to non-terminated state"
                errors.append(field.forbidden(f"{path}[{i}].state", detail))
    return errors


def _ips(found: list[Obj], old: list[Obj], path: str) -> Errors:
    errors: Errors = []
    known = {entry.get("ip") for entry in old}
    for i, entry in enumerate(found):
        if entry.get("ip") not in known:
            errors += named(entry.get("ip", ""), f"{path}[{i}]", checks.ip)
    if errors:
        return errors
    families = [":" in entry.get("ip", "") for entry in found]
    if len(found) > 1 and len(set(families)) != len(families):
        errors.append(field.invalid(path, found, "may specify no more than one IP for each IP family"))
    seen: set[str] = set()
    for i, entry in enumerate(found):
        if entry.get("ip") in seen:
            errors.append(field.duplicate(f"{path}[{i}]", entry))
        seen.add(entry.get("ip", ""))
    return errors


def _update_ephemeral(pod: Obj, old: Obj) -> Errors:
    errors = _whole(pod) + _annotation_updates(pod, old)
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [field.forbidden("[]", "static pods do not support ephemeral containers")]
    found = {c.get("name"): c for c in pod["spec"].get("ephemeralContainers") or ()}
    for before in old["spec"].get("ephemeralContainers") or ():
        after = found.get(before.get("name"))
        if after is None:
            detail = f'existing ephemeral containers "{before.get("name", "")}" may not be removed\n'
            errors.append(field.forbidden("spec.ephemeralContainers", detail))
        elif after != before:
            detail = f'existing ephemeral containers "{before.get("name", "")}" may not be changed'
            errors.append(field.forbidden("spec.ephemeralContainers", detail))
    return errors


def _update_resize(pod: Obj, old: Obj) -> Errors:
    errors = _whole(pod)
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [field.forbidden("[]", "static pods cannot be resized")]
    if (old["spec"].get("os") or {}).get("name") == "windows":
        return [field.forbidden("[]", "windows pods cannot be resized")]
    status = old.get("status") or {}
    if qos_class(pod) != (status.get("qosClass") or qos_class(old)):
        detail = "Pod QOS Class may not change as a result of resizing"
        errors.append(field.invalid("spec", status.get("qosClass", ""), detail))
    # Init containers come first, and their changes last. Whether the node resizes those that run to an end is for the
    # plugin NodeDeclaredFeatureValidator.
    expected = meta.copy(pod["spec"])
    containers = _pairs(expected, old["spec"], "containers")
    initial = _pairs(expected, old["spec"], "initContainers")
    for members, pairs in (("initContainers", initial), ("containers", containers)):
        for i, (new, was) in enumerate(pairs):
            path = f"spec.{members}[{i}].resources"
            errors += _no_removed(new.get("resources") or {}, was.get("resources") or {}, path)
    for new, was in containers:
        errors += _unlike(_with_old_resources(new, was), was, "only cpu and memory resources are mutable")
    for new, was in initial:
        sidecar = " for sidecar containers" if was.get("restartPolicy") == "Always" else ""
        errors += _unlike(_with_old_resources(new, was), was, f"only cpu and memory resources{sidecar} are mutable")
    if "resources" in old["spec"] and "resources" in expected:
        errors += _no_removed(expected["resources"], old["spec"]["resources"], "spec.resources")
        expected["resources"] = _with_old_amounts(expected["resources"], old["spec"]["resources"])
    return errors or _unlike(expected, old["spec"], "only cpu and memory resources are mutable")


def _pairs(spec: Obj, old: Obj, members: str) -> list[tuple[Obj, Obj]]:
    return list(zip(spec.get(members) or (), old.get(members) or (), strict=False))


def _with_old_resources(container: Obj, old: Obj) -> Obj:
    container["resources"] = _with_old_amounts(container.get("resources") or {}, old.get("resources") or {})
    return container


def _unlike(new: Obj, old: Obj, detail: str) -> Errors:
    return [] if new == old else [field.forbidden("spec", detail)]


def _no_removed(new: Obj, old: Obj, path: str) -> Errors:
    return [
        field.forbidden(f"{path}.{member}", f"resource {member} cannot be removed")
        for member in ("requests", "limits")
        if (old.get(member) or {}).keys() - (new.get(member) or {}).keys()
    ]


def _with_old_amounts(new: Obj, old: Obj) -> Obj:
    """Return requirements with the old amounts of what can be resized."""
    result = dict(new)
    for member in ("requests", "limits"):
        kept = {k: v for k, v in (new.get(member) or {}).items() if k not in ("cpu", "memory")}
        kept.update({k: v for k, v in (old.get(member) or {}).items() if k in ("cpu", "memory")})
        if kept:
            result[member] = kept
        elif member not in old:
            result.pop(member, None)
        else:
            result[member] = old[member]
    return result


RULES = {
    ("", "pods"): Rules(
        create=_create,
        update=_update,
        subresources={
            "status": _update_status,
            "ephemeralcontainers": _update_ephemeral,
            "resize": _update_resize,
        },
        recheck=False,
    ),
}
