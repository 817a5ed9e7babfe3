"""Controllers of pods: ``apps`` and ReplicationControllers."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.claims import claim_spec
from wherry.api.validation.pod_spec import pod_template, template_metadata
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import (
    at_most_100_percent,
    immutable,
    int_or_percent,
    is_empty_selector,
    label_selector,
    named,
    non_negative,
    percent_of,
    selects,
)

Obj = dict[str, Any]
Errors = list[FieldError]

NO_MATCH = "`selector` does not match template `labels`"


def template_labels(template: Obj) -> dict[str, str] | None:
    """Return the labels of a template, None when there are none."""
    return (template.get("metadata") or {}).get("labels") or None


def _selector(spec: Obj, *, empty: str) -> Errors:
    """A selector must be there and not select everything."""
    selector = spec.get("selector")
    if selector is None:
        return [field.required("spec.selector")]
    errors = label_selector(selector, "spec.selector")
    if is_empty_selector(selector):
        errors.append(field.invalid("spec.selector", selector, empty))
    return errors


def _selected(spec: Obj) -> Errors:
    """Check the template; it is not looked at while nobody can tell what the selector selects."""
    selector = spec.get("selector")
    if label_selector(selector, ""):
        return [field.invalid("spec.selector", selector, "invalid label selector")]
    return _replica_template(spec.get("template"), selector)


def _replica_template(template: Obj | None, selector: Obj | None, path: str = "spec.template") -> Errors:
    """The template of pods that live as long as their controller (apps ``ValidatePodTemplateSpecForReplicaSet``)."""
    if template is None:
        return [field.required(path)]
    errors: Errors = []
    labels = template_labels(template)
    # A selector that selects nothing was refused already; it matches everything where it is empty but present.
    if (not is_empty_selector(selector) and not selects(selector, labels)) or selector is None:
        errors.append(field.invalid(f"{path}.metadata.labels", labels, NO_MATCH))
    errors += pod_template(template, path)
    return errors + _lives_on(template, path)


def _lives_on(template: Obj, path: str) -> Errors:
    """Pods that are replaced when they end are restarted always and have no deadline."""
    spec = template.get("spec") or {}
    errors: Errors = []
    policy = spec.get("restartPolicy")
    if policy != "Always":
        errors.append(field.not_supported(f"{path}.spec.restartPolicy", policy, ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in ReplicaSet is not Supported"
        errors.append(field.forbidden(f"{path}.spec.activeDeadlineSeconds", detail))
    return errors


# -- Deployments


def _deployment(obj: Obj) -> Errors:
    spec = obj["spec"]
    errors = non_negative(spec.get("replicas", 0), "spec.replicas")
    errors += _selector(spec, empty="empty selector is invalid for deployment")
    errors += _selected(spec)
    errors += _deployment_strategy(spec.get("strategy") or {}, "spec.strategy")
    errors += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    errors += non_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        errors += non_negative(deadline, "spec.progressDeadlineSeconds")
        if deadline <= spec.get("minReadySeconds", 0):
            errors.append(
                field.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
            )
    return errors


def _deployment_strategy(strategy: Obj, path: str) -> Errors:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            return [field.forbidden(f"{path}.rollingUpdate", detail)]
        return []
    if kind == "RollingUpdate":
        if rolling is None:
            detail = "this should be defaulted and never be nil"
            return [field.required(f"{path}.rollingUpdate", detail)]
        return _rolling_deployment(rolling, f"{path}.rollingUpdate")
    return [field.not_supported(path, strategy, ("Recreate", "RollingUpdate"))]


def _is_zero(value: Any) -> bool:
    """What is neither a number nor a percentage counts as none, as it does upstream."""
    percent = percent_of(value)
    return not percent if percent is not None or isinstance(value, str) else value == 0


def _rolling_deployment(rolling: Obj, path: str) -> Errors:
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = int_or_percent(unavailable, f"{path}.maxUnavailable")
    errors += int_or_percent(surge, f"{path}.maxSurge")
    if _is_zero(unavailable) and _is_zero(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        errors.append(field.invalid(f"{path}.maxUnavailable", unavailable, detail))
    return errors + at_most_100_percent(unavailable, f"{path}.maxUnavailable")


def _update_deployment(obj: Obj, old: Obj) -> Errors:
    return immutable(obj["spec"].get("selector"), old["spec"].get("selector"), "spec.selector")


def _counts(status: Obj, *members: str) -> Errors:
    return [e for m in members for e in non_negative(status.get(m), f"status.{m}")]


def _no_more(status: Obj, member: str, *limits: str) -> Errors:
    """Some counts cannot be larger than others."""
    value = status.get(member, 0)
    return [
        field.invalid(f"status.{member}", value, f"cannot be greater than {limit}")
        for limit in limits
        if value > status.get(limit.removeprefix("status."), 0)
    ]


def _collisions(status: Obj, old: Obj) -> Errors:
    count, before = status.get("collisionCount"), old.get("collisionCount")
    errors = non_negative(count, "status.collisionCount")
    if before is not None and (count is None or count < before):
        shown = 0 if count is None else count
        errors.append(field.invalid("status.collisionCount", shown, "cannot be decremented"))
    return errors


def _deployment_status(obj: Obj, old: Obj) -> Errors:
    status, before = obj.get("status") or {}, old.get("status") or {}
    members = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    errors = _counts(status, *members, "unavailableReplicas", "terminatingReplicas")
    errors += non_negative(status.get("collisionCount"), "status.collisionCount")
    errors += _no_more(status, "updatedReplicas", "status.replicas")
    errors += _no_more(status, "readyReplicas", "status.replicas")
    errors += _no_more(status, "availableReplicas", "status.replicas", "readyReplicas")
    count, was = status.get("collisionCount"), before.get("collisionCount")
    if was is not None and (count is None or count < was):
        shown = 0 if count is None else count
        errors.append(field.invalid("status.collisionCount", shown, "cannot be decremented"))
    return errors


# -- ReplicaSets and ReplicationControllers


def _replica_set(obj: Obj) -> Errors:
    spec = obj["spec"]
    errors = non_negative(spec.get("replicas", 0), "spec.replicas")
    errors += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    errors += _selector(spec, empty="empty selector is invalid for deployment")
    return errors + _selected(spec)


def _update_replica_set(obj: Obj, old: Obj) -> Errors:
    return _replica_set(obj) + immutable(obj["spec"].get("selector"), old["spec"].get("selector"), "spec.selector")


def _replica_status(obj: Obj, old: Obj) -> Errors:
    status = obj.get("status") or {}
    members = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "terminatingReplicas")
    errors = _counts(status, *members, "observedGeneration")
    errors += _no_more(status, "fullyLabeledReplicas", "status.replicas")
    errors += _no_more(status, "readyReplicas", "status.replicas")
    errors += _no_more(status, "availableReplicas", "status.replicas")
    return errors + _no_more(status, "availableReplicas", "readyReplicas")


def _replication_controller(obj: Obj) -> Errors:
    spec = obj["spec"]
    errors = non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    selector = spec.get("selector") or {}
    if not selector:
        errors.append(field.required("spec.selector"))
    errors += non_negative(spec.get("replicas", 0), "spec.replicas")
    template = spec.get("template")
    if template is None:
        return [*errors, field.required("spec.template")]
    labels = template_labels(template)
    if selector and not selects({"matchLabels": selector}, labels):
        errors.append(field.invalid("spec.template.metadata.labels", labels, NO_MATCH))
    errors += pod_template(template, "spec.template")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy != "Always":
        errors.append(field.not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in ReplicationController is not Supported"
        errors.append(field.forbidden("spec.template.spec.activeDeadlineSeconds", detail))
    return errors


# -- DaemonSets


def _daemon_set(obj: Obj) -> Errors:
    spec = obj["spec"]
    selector, template = spec.get("selector"), spec.get("template") or {}
    errors = label_selector(selector, "spec.selector")
    labels = template_labels(template)
    empty = selector is not None and is_empty_selector(selector)
    if not errors and not empty and not selects(selector, labels):
        errors.append(field.invalid("spec.template.metadata.labels", labels, NO_MATCH))
    if empty:
        detail = "empty selector is invalid for daemonset"
        errors.append(field.invalid("spec.selector", selector, detail))
    errors += pod_template(template, "spec.template")
    pod = template.get("spec") or {}
    policy = pod.get("restartPolicy")
    if policy != "Always":
        errors.append(field.not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in DaemonSet is not Supported"
        errors.append(field.forbidden("spec.template.spec.activeDeadlineSeconds", detail))
    errors += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    errors += _daemon_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    return errors + non_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")


def _update_daemon_set(obj: Obj, old: Obj) -> Errors:
    return immutable(obj["spec"].get("selector"), old["spec"].get("selector"), "spec.selector") + _daemon_set(obj)


def _daemon_strategy(strategy: Obj, path: str) -> Errors:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [field.not_supported(path, strategy, ("RollingUpdate", "OnDelete"), ordered=True)]
    if rolling is None:
        return [field.required(f"{path}.rollingUpdate")]
    at = f"{path}.rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = int_or_percent(unavailable, f"{at}.maxUnavailable")
    errors += int_or_percent(surge, f"{at}.maxSurge")
    errors += at_most_100_percent(unavailable, f"{at}.maxUnavailable")
    errors += at_most_100_percent(surge, f"{at}.maxSurge")
    if _is_zero(surge) and _is_zero(unavailable):
        errors.append(field.required(f"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    elif not _is_zero(surge) and not _is_zero(unavailable):
        detail = "may not be set when maxUnavailable is non-zero"
        errors.append(field.invalid(f"{at}.maxSurge", surge, detail))
    return errors


def _daemon_status(obj: Obj, old: Obj) -> Errors:
    status, before = obj.get("status") or {}, old.get("status") or {}
    members = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    errors = _counts(status, *members, "observedGeneration", "updatedNumberScheduled", "numberAvailable")
    return errors + _counts(status, "numberUnavailable") + _collisions(status, before)


# -- StatefulSets


def _stateful_set(obj: Obj) -> Errors:
    return _stateful_spec(obj["spec"], whole=True)


def _stateful_spec(spec: Obj, *, whole: bool, template: bool = True) -> Errors:
    """Check the spec of a StatefulSet.

    `whole`: with what can no longer be changed, the claims and the name of the service; `template`: with that of pods.
    """
    errors: Errors = []
    policy = spec.get("podManagementPolicy")
    if not policy:
        errors.append(field.required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        errors.append(field.invalid("spec.podManagementPolicy", policy, detail))
    errors += _stateful_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    errors += _retention(spec.get("persistentVolumeClaimRetentionPolicy"))
    if whole:
        for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            errors += claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{i}].spec")
    errors += non_negative(spec.get("replicas", 0), "spec.replicas")
    errors += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    ordinals = spec.get("ordinals")
    if ordinals is not None:
        errors += non_negative(ordinals.get("start", 0), "spec.ordinals.start")
    if whole and spec.get("serviceName"):
        errors += named(spec["serviceName"], "spec.serviceName", checks.label)
    errors += _selector(spec, empty="empty selector is invalid for statefulset")
    return errors + _stateful_template(spec, template=template)


def _stateful_template(spec: Obj, *, template: bool) -> Errors:
    selector, found, path = spec.get("selector"), spec.get("template") or {}, "spec.template"
    errors: Errors = []
    if label_selector(selector, ""):
        errors.append(field.invalid("spec.selector", selector, ""))
    else:
        labels = template_labels(found)
        if not (selector is not None and is_empty_selector(selector)) and not selects(selector, labels):
            errors.append(field.invalid(f"{path}.metadata.labels", labels, NO_MATCH))
        shown = _as_of_set(spec, found)
        if template:
            errors += pod_template(shown, path)
        errors += template_metadata(shown, path)
    pod = found.get("spec") or {}
    if pod.get("restartPolicy") != "Always":
        errors.append(field.not_supported(f"{path}.spec.restartPolicy", pod.get("restartPolicy"), ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in StatefulSet is not Supported"
        errors.append(field.forbidden(f"{path}.spec.activeDeadlineSeconds", detail))
    return errors


def _as_of_set(spec: Obj, template: Obj) -> Obj:
    """Return the template as the set uses it: with volumes for its claims before the others, with names of its own."""
    pod = {k: v for k, v in (template.get("spec") or {}).items() if k not in ("hostname", "subdomain")}
    names = {(claim.get("metadata") or {}).get("name") or "": None for claim in spec.get("volumeClaimTemplates") or ()}
    if names:
        kept = [volume for volume in pod.get("volumes") or () if (volume.get("name") or "") not in names]
        claims = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
        pod["volumes"] = claims + kept
    return {**template, "spec": pod}


def _stateful_strategy(strategy: Obj, path: str) -> Errors:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if not kind:
        return [field.required(path)]
    if kind == "OnDelete":
        if rolling is not None:
            detail = "only allowed for updateStrategy 'RollingUpdate'"
            return [field.invalid(f"{path}.rollingUpdate", rolling, detail)]
        return []
    if kind != "RollingUpdate":
        return [field.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    at = f"{path}.rollingUpdate"
    errors = non_negative(rolling.get("partition", 0), f"{at}.partition")
    unavailable = rolling.get("maxUnavailable")
    if unavailable is not None:
        errors += int_or_percent(unavailable, f"{at}.maxUnavailable")
        if _is_zero(unavailable):
            errors.append(field.invalid(f"{at}.maxUnavailable", unavailable, "cannot be 0"))
        errors += at_most_100_percent(unavailable, f"{at}.maxUnavailable")
    return errors


def _retention(policy: Obj | None) -> Errors:
    if policy is None:
        return []
    errors: Errors = []
    for member in ("whenDeleted", "whenScaled"):
        value, path = policy.get(member), f"spec.persistentVolumeClaimRetentionPolicy.{member}"
        if value not in ("Retain", "Delete"):
            known = ("Retain", "Delete")
            errors.append(field.not_supported(path, value or "", known, ordered=True))
    return errors


_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def _update_stateful_set(obj: Obj, old: Obj) -> Errors:
    spec, before = obj["spec"], old["spec"]
    errors = _stateful_spec(spec, whole=False, template=not _stateful_spec(before, whole=False))
    if any(spec.get(m) != before.get(m) for m in (spec.keys() | before.keys()) - set(_MUTABLE)):
        shown = ", ".join(f"'{m}'" for m in _MUTABLE[:-1])
        detail = f"updates to statefulset spec for fields other than {shown} and '{_MUTABLE[-1]}' are forbidden"
        errors.append(field.forbidden("spec", detail))
    return errors


def _stateful_status(obj: Obj, old: Obj) -> Errors:
    status, before = obj.get("status") or {}, old.get("status") or {}
    members = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    errors = _counts(status, *members, "observedGeneration") + _collisions(status, before)
    for member in ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"):
        errors += _no_more(status, member, "status.replicas")
    return errors + _no_more(status, "availableReplicas", "status.readyReplicas")


# -- ControllerRevisions


def _controller_revision(obj: Obj) -> Errors:
    return non_negative(obj.get("revision", 0), "revision")


def _revision_data(obj: Obj) -> Errors:
    data = obj.get("data")
    if data is None:
        return [field.required("data", "data is mandatory")]
    return [] if isinstance(data, dict) else [field.required("data", "data must be a valid JSON object")]


def _update_controller_revision(obj: Obj, old: Obj) -> Errors:
    return immutable(obj.get("data"), old.get("data"), "data")


# Upstream looks at a changed controller of pods of most kinds twice, and answers each error as often.
RULES = {
    ("", "replicationcontrollers"): Rules(
        create=_replication_controller,
        update=lambda obj, old: _replication_controller(obj),
        subresources={"status": _replica_status},
    ),
    ("apps", "deployments"): Rules(
        create=_deployment,
        update=_update_deployment,
        subresources={"status": _deployment_status},
        metadata_again=False,
    ),
    ("apps", "replicasets"): Rules(
        create=_replica_set, update=_update_replica_set, subresources={"status": _replica_status}
    ),
    ("apps", "daemonsets"): Rules(
        create=_daemon_set, update=_update_daemon_set, subresources={"status": _daemon_status}
    ),
    ("apps", "statefulsets"): Rules(
        create=_stateful_set,
        update=_update_stateful_set,
        recheck=False,
        subresources={"status": _stateful_status},
        name=metadata.label,
    ),
    ("apps", "controllerrevisions"): Rules(
        create=_controller_revision, create_only=_revision_data, update=_update_controller_revision
    ),
}
