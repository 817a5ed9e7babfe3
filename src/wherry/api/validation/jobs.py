"""Jobs and CronJobs (``batch``)."""

from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.strategy.workloads import JOB_LABELS
from wherry.api.validation import checks
from wherry.api.validation.cron import schedule_error
from wherry.api.validation.indexes import count_indexes
from wherry.api.validation.jobstatus import job_status
from wherry.api.validation.pod_spec import pod_template
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import IMMUTABLE, immutable, label_selector, named, non_negative, selects
from wherry.api.validation.workloads import NO_MATCH, template_labels

Obj = dict[str, Any]
Errors = list[FieldError]

_MAX_PARALLEL_INDEXED = 100000
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")


def _job(obj: Obj) -> Errors:
    errors = _generated_selector(obj) + job_spec(obj["spec"], "spec")
    spec = obj["spec"]
    if spec.get("completionMode") == "Indexed" and (spec.get("completions") or 0) > 0:
        # The pods are named after the Job and their index.
        longest = f"{obj['metadata'].get('name', '')}-{spec['completions'] - 1}"
        if checks.label(longest):
            detail = f"will not able to create pod with invalid DNS label: {longest}"
            errors.append(field.invalid("metadata.name", obj["metadata"].get("name", ""), detail))
    return errors


def _generated_selector(obj: Obj) -> Errors:
    """Without a manual selector, the Job's UID and name must be on the template and in the selector."""
    spec, meta = obj["spec"], obj["metadata"]
    if spec.get("manualSelector"):
        return []
    selector = spec.get("selector")
    if selector is None:
        return []  # it is told to be missing with the rest of the spec
    generated = dict(zip(JOB_LABELS, (meta.get("uid", ""), meta.get("name", "")) * 2, strict=True))
    labels = template_labels(spec.get("template") or {}) or {}
    errors: Errors = []
    for key, value in generated.items():
        path = "spec.template.metadata.labels"
        if key not in labels:
            errors.append(field.required(f"{path}[{key}]", f"must be '{value}'"))
        elif labels[key] != value:
            errors.append(field.invalid(f"{path}[{key}]", labels, f"must be '{value}'"))
    if not label_selector(selector, "") and not selects(selector, generated):
        errors.append(field.invalid("spec.selector", selector, "`selector` not auto-generated"))
    return errors


def job_spec(spec: Obj, path: str, *, in_template: bool = False) -> Errors:
    """Check the spec of a Job; in the template of a CronJob there is no selector yet."""
    errors = _job_spec(spec, path)
    if in_template:
        return errors
    labels, selector = template_labels(spec.get("template") or {}), spec.get("selector")
    errors += [field.required(f"{path}.selector")] if selector is None else label_selector(selector, f"{path}.selector")
    if not selects(selector, labels) and not label_selector(selector, ""):
        errors.append(field.invalid(f"{path}.template.metadata.labels", labels, NO_MATCH))
    return errors


_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
)  # fmt: skip


def _job_spec(spec: Obj, path: str) -> Errors:
    errors = [e for member in _COUNTS for e in non_negative(spec.get(member), f"{path}.{member}")]
    if spec.get("maxFailedIndexes") is not None:
        errors += non_negative(spec["maxFailedIndexes"], f"{path}.maxFailedIndexes")
        if spec.get("backoffLimitPerIndex") is None:
            errors.append(field.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    manager = spec.get("managedBy")
    if manager is not None:
        wrong = checks.domain_prefixed_path(manager)
        errors += [field.invalid(f"{path}.managedBy", part, m) for part, m in wrong]
        if len(manager) > 63:
            errors.append(field.too_long(f"{path}.managedBy", 63))
    errors += _completion_mode(spec, path)
    if spec.get("podFailurePolicy") is not None:
        errors += _failure_policy(spec, f"{path}.podFailurePolicy")
    if spec.get("successPolicy") is not None:
        errors += _success_policy(spec, f"{path}.successPolicy")
    errors += _replacement(spec, f"{path}.podReplacementPolicy")
    template = spec.get("template") or {}
    errors += pod_template(template, f"{path}.template")
    policy, at = (template.get("spec") or {}).get("restartPolicy"), f"{path}.template.spec.restartPolicy"
    if policy in (None, "", "Always"):
        errors.append(field.required(at, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        errors.append(field.not_supported(at, policy, ("OnFailure", "Never"), ordered=True))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        errors.append(field.invalid(at, policy, detail))
    return errors


_HIGH_PARALLELISM = 10000


def _completion_mode(spec: Obj, path: str) -> Errors:
    mode = spec.get("completionMode")
    errors: Errors = []
    if mode not in (None, "NonIndexed", "Indexed"):
        known = ("NonIndexed", "Indexed")
        errors.append(field.not_supported(f"{path}.completionMode", mode, known, ordered=True))
    if mode == "Indexed":
        errors += _indexed(spec, path)
    if mode in (None, "NonIndexed"):
        for member in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(member) is not None:
                errors.append(field.invalid(f"{path}.{member}", spec[member], "requires indexed completion mode"))
    return errors


def _indexed(spec: Obj, path: str) -> Errors:
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    failed, at = spec.get("maxFailedIndexes"), f"{path}.maxFailedIndexes"
    most = f"must be less than or equal to {_MAX_PARALLEL_INDEXED}"
    errors: Errors = []
    if completions is None:
        errors.append(field.required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism > _MAX_PARALLEL_INDEXED:
        errors.append(field.invalid(f"{path}.parallelism", parallelism, f"{most} when completion mode is Indexed"))
    if completions is not None and failed is not None and failed > completions:
        errors.append(field.invalid(at, failed, "must be less than or equal to completions"))
    if failed is not None and failed > _MAX_PARALLEL_INDEXED:
        errors.append(field.invalid(at, failed, most))
    if (completions or 0) <= _MAX_PARALLEL_INDEXED or spec.get("backoffLimitPerIndex") is None:
        return errors
    if failed is None:
        detail = f"must be specified when completions is above {_MAX_PARALLEL_INDEXED}"
        errors.append(field.required(at, detail))
    detail = f"must be less than or equal to {_HIGH_PARALLELISM} when completions are above "
    detail += f"{_MAX_PARALLEL_INDEXED} and used with backoff limit per index"
    for value, where in ((parallelism, f"{path}.parallelism"), (failed or 0, at)):
        if value > _HIGH_PARALLELISM:
            errors.append(field.invalid(where, value, detail))
    return errors


def _failure_policy(spec: Obj, path: str) -> Errors:
    errors: Errors = []
    rules = spec["podFailurePolicy"].get("rules") or []
    pod = (spec.get("template") or {}).get("spec") or {}
    names = {c.get("name") for m in ("containers", "initContainers") for c in pod.get(m) or ()}
    if len(rules) > 20:
        errors.append(field.too_many(f"{path}.rules", len(rules), 20))
    for i, rule in enumerate(rules):
        errors += _failure_rule(rule, spec, f"{path}.rules[{i}]", names)
    return errors


def _go_list(values: tuple[str, ...]) -> str:
    """Name the values as Go prints a quoted list."""
    return "valid values: [" + " ".join(f'"{v}"' for v in values) + "]"


def _failure_rule(rule: Obj, spec: Obj, path: str, names: set[Any]) -> Errors:
    errors: Errors = []
    action = rule.get("action")
    if not action:
        errors.append(field.required(f"{path}.action", _go_list(_ACTIONS)))
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        detail = "requires the backoffLimitPerIndex to be set"
        errors.append(field.invalid(f"{path}.action", action, detail))
    elif action not in _ACTIONS:
        errors.append(field.not_supported(f"{path}.action", action, _ACTIONS))
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        errors += _exit_codes(codes, f"{path}.onExitCodes", names)
    if len(conditions) > 20:
        errors.append(field.too_many(f"{path}.onPodConditions", len(conditions), 20))
    for i, pattern in enumerate(conditions):
        at = f"{path}.onPodConditions[{i}]"
        errors += named(pattern.get("type", ""), f"{at}.type", checks.qualified_name)
        status = pattern.get("status")
        known = ("False", "True", "Unknown")
        if not status:
            errors.append(field.required(f"{at}.status", _go_list(known)))
        elif status not in known:
            errors.append(field.not_supported(f"{at}.status", status, known))
    if codes is not None and conditions:
        errors.append(
            field.invalid(path, field.OMIT, "specifying both OnExitCodes and OnPodConditions is not supported")
        )
    elif codes is None and not conditions:
        detail = "specifying one of OnExitCodes and OnPodConditions is required"
        errors.append(field.invalid(path, field.OMIT, detail))
    return errors


def _exit_codes(codes: Obj, path: str, names: set[Any]) -> Errors:
    errors: Errors = []
    operator, values, name = codes.get("operator"), codes.get("values") or [], codes.get("containerName")
    if not operator:
        errors.append(field.required(f"{path}.operator", _go_list(("In", "NotIn"))))
    elif operator not in ("In", "NotIn"):
        errors.append(field.not_supported(f"{path}.operator", operator, ("In", "NotIn")))
    if name is not None and name not in names:
        detail = "must be one of the container or initContainer names in the pod template"
        errors.append(field.invalid(f"{path}.containerName", name, detail))
    if not values:
        errors.append(field.invalid(f"{path}.values", codes.get("values"), "at least one value is required"))
    elif len(values) > 255:
        errors.append(field.too_many(f"{path}.values", len(values), 255))
    seen: set[int] = set()
    ordered = True
    for i, value in enumerate(values):
        if value == 0 and operator == "In":
            detail = "must not be 0 for the In operator"
            errors.append(field.invalid(f"{path}.values[{i}]", value, detail))
        if value in seen:
            errors.append(field.duplicate(f"{path}.values[{i}]", value))
        seen.add(value)
        ordered = ordered and (i == 0 or values[i - 1] <= value)
    if not ordered:
        errors.append(field.invalid(f"{path}.values", values, "must be ordered"))
    return errors


def _success_policy(spec: Obj, path: str) -> Errors:
    policy = spec["successPolicy"]
    if spec.get("completionMode") != "Indexed":
        return [field.invalid(path, policy, "requires indexed completion mode")]
    rules = policy.get("rules") or []
    if not rules:
        return [
            field.required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
        ]
    errors: Errors = []
    if len(rules) > 20:
        errors.append(field.too_many(f"{path}.rules", len(rules), 20))
    for i, rule in enumerate(rules):
        errors += _success_rule(rule, spec.get("completions"), f"{path}.rules[{i}]")
    return errors


def _success_rule(rule: Obj, completions: int | None, path: str) -> Errors:
    errors: Errors = []
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        errors.append(field.required(path, "at least one of succeededCount or succeededIndexes must be specified"))
    total = 0
    if indexes is not None:
        at = f"{path}.succeededIndexes"
        if len(indexes) > 64 * 1024:
            errors.append(field.too_long(at, 64 * 1024))
        total, wrong = count_indexes(indexes, completions or 0)
        if wrong:
            errors.append(field.invalid(at, indexes, f"error parsing succeededIndexes: {wrong}"))
    if count is not None:
        at = f"{path}.succeededCount"
        errors += non_negative(count, at)
        if completions is not None and count > completions:
            detail = f"must be less than or equal to {completions} (the number of specified completions)"
            errors.append(field.invalid(at, count, detail))
        if indexes is not None and count > total:
            detail = f"must be less than or equal to {total} "
            detail += "(the number of indexes in the specified succeededIndexes field)"
            errors.append(field.invalid(at, count, detail))
    return errors


def _replacement(spec: Obj, path: str) -> Errors:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return []
    if spec.get("podFailurePolicy") is not None:
        return [] if policy == "Failed" else [field.not_supported(path, policy, ("Failed",))]
    if policy in ("Failed", "TerminatingOrFailed"):
        return []
    return [field.not_supported(path, policy, ("Failed", "TerminatingOrFailed"))]


_SUSPENDED = ("nodeSelector", "tolerations", "schedulingGates")


def _update_job(obj: Obj, old: Obj) -> Errors:
    spec, before = obj["spec"], old["spec"]
    errors = job_spec(spec, "spec")
    errors += _completions_change(spec, before)
    errors += immutable(spec.get("selector"), before.get("selector"), "spec.selector")
    errors += _template_change(spec, before, old)
    for member in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        errors += immutable(spec.get(member), before.get(member), f"spec.{member}")
    return errors


def _completions_change(spec: Obj, before: Obj) -> Errors:
    """An elastic indexed Job changes completions together with parallelism."""
    new, old = spec.get("completions"), before.get("completions")
    if new == old:
        return []
    if spec.get("completionMode") != "Indexed":
        return immutable(new, old, "spec.completions")
    if new is None or new == spec.get("parallelism"):
        return []
    return [field.invalid("spec.completions", new, "can only be modified in tandem with spec.parallelism")]


def _template_change(spec: Obj, before: Obj, old: Obj) -> Errors:
    """While a Job rests, where its pods may go and what they may take can be changed."""
    new, was = spec.get("template") or {}, before.get("template") or {}
    if new == was or not before.get("suspend") or not _rests(old.get("status") or {}):
        return immutable(new, was, "spec.template")
    pod, kept = new.get("spec") or {}, was.get("spec") or {}
    expected = _with(kept, pod, *_SUSPENDED)
    if _other_affinity(pod) == _other_affinity(kept):
        expected = _with(expected, pod, "affinity")
    for members in ("containers", "initContainers"):
        found, there = pod.get(members) or [], kept.get(members) or []
        if found and [c.get("name") for c in found] == [c.get("name") for c in there]:
            expected[members] = [_with(c, container, "resources") for container, c in zip(found, there, strict=True)]
    errors = [] if _other_metadata(new) == _other_metadata(was) else [field.invalid("spec.template", new, IMMUTABLE)]
    return errors + immutable(pod, expected, "spec.template.spec")


def _with(obj: Obj, source: Obj, *members: str) -> Obj:
    """Return a copy that has some members from elsewhere."""
    return {m: v for m, v in obj.items() if m not in members} | {m: source[m] for m in members if m in source}


def _rests(status: Obj) -> bool:
    """Tell whether no pod of a suspended Job can be there: it never started, or has stopped."""
    stopped = any(c.get("type") == "Suspended" and c.get("status") == "True" for c in status.get("conditions") or ())
    return not status.get("active") and (stopped or not status.get("startTime"))


def _other_affinity(pod: Obj) -> Obj:
    return {m: v for m, v in (pod.get("affinity") or {}).items() if m != "nodeAffinity"}


def _other_metadata(template: Obj) -> Obj:
    return {m: v for m, v in (template.get("metadata") or {}).items() if m not in ("labels", "annotations")}


# -- CronJobs


def _cron_job(obj: Obj, *, check_zone: bool = True) -> Errors:
    spec = obj["spec"]
    errors = non_negative(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
    errors += _zone(spec.get("timeZone")) if check_zone else []
    policy = spec.get("concurrencyPolicy")
    if policy not in ("Allow", "Forbid", "Replace"):
        path = "spec.concurrencyPolicy"
        known = ("Allow", "Forbid", "Replace")
        errors.append(field.not_supported(path, policy, known, ordered=True) if policy else field.required(path))
    job, path = (spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec"
    errors += job_spec(job, path, in_template=True)
    if job.get("selector") is not None:
        errors.append(field.invalid(f"{path}.selector", job["selector"], "`selector` will be auto-generated"))
    if job.get("manualSelector"):
        errors.append(field.not_supported(f"{path}.manualSelector", True, ("nil", "false"), ordered=True))
    for member in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        errors += non_negative(spec.get(member), f"spec.{member}")
    return errors


def _cron_job_name(obj: Obj) -> Errors:
    """The name of a Job is that of its CronJob with eleven characters more."""
    name = obj["metadata"].get("name", "")
    return [field.invalid("metadata.name", name, "must be no more than 52 characters")] if len(name) > 52 else []


def _create_cron_job(obj: Obj) -> Errors:
    return _schedule(obj["spec"], had_zone=False) + _cron_job(obj)


def _update_cron_job(obj: Obj, old: Obj) -> Errors:
    """A time zone in the schedule, and one that has become unknown, may stay."""
    spec, before = obj["spec"], old["spec"]
    unchanged = spec.get("timeZone") == before.get("timeZone")
    return _schedule(spec, had_zone="TZ" in before.get("schedule", "")) + _cron_job(obj, check_zone=not unchanged)


def _schedule(spec: Obj, *, had_zone: bool) -> Errors:
    path, schedule = "spec.schedule", spec.get("schedule") or ""
    if not schedule:
        return [field.required(path)]
    # The parser takes a time zone before the fields.
    fields = schedule.partition(" ")[2] if schedule.startswith(("TZ=", "CRON_TZ=")) else schedule
    wrong = schedule_error(fields)
    errors = [field.invalid(path, schedule, wrong)] if wrong else []
    if "TZ" in schedule and not had_zone:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        errors.append(field.invalid(path, schedule, detail))
    elif "TZ" in schedule and spec.get("timeZone") is not None:
        detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        errors.append(field.invalid(path, schedule, detail))
    return errors


@lru_cache(1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(zone: str | None) -> Errors:
    if zone is None:
        return []
    path = "spec.timeZone"
    errors: Errors = []
    if not zone:
        return [field.invalid(path, zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        errors.append(field.invalid(path, zone, detail))
    if zone != "Local" and zone not in _zones():
        errors.append(field.invalid(path, zone, f"unknown time zone {zone}"))
    return errors


RULES = {
    ("batch", "jobs"): Rules(create=_job, update=_update_job, subresources={"status": job_status}),
    ("batch", "cronjobs"): Rules(
        create=_create_cron_job, create_only=_cron_job_name, update=_update_cron_job, recheck=False
    ),
}
