"""Pods: what may be created, and what little may be changed later."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import pod_resize
from wherry.api.validation import scheduling as where
from wherry.api.validation.containers import image_padding
from wherry.api.validation.pod_platform import APPARMOR, profile_annotations
from wherry.api.validation.pod_spec import MIRROR, pod_annotations, pod_spec
from wherry.api.validation.pod_status import update_status
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import MAX_INT32

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
    return pod_resize.unable(old) or _whole(pod) + pod_resize.changes(pod, old)


RULES = {
    ("", "pods"): Rules(
        create=_create,
        update=_update,
        subresources={
            "status": lambda pod, old: _annotation_updates(pod, old) + update_status(pod, old),
            "ephemeralcontainers": _update_ephemeral,
            "resize": _update_resize,
        },
        recheck=False,
    ),
}
