"""Defaults of ``batch/v1``."""

from typing import Any

from wherry.api.defaults.pod_spec import default_template

Obj = dict[str, Any]


def _template(spec: Obj) -> None:
    """A Job's restart policy has no default of its own: validation asks for one."""
    template = spec.setdefault("template", {})
    default_template(template)


def default_job(obj: Obj) -> None:
    """The labels of the template become the Job's, as one dict: what is generated later shows in both."""
    spec = obj.setdefault("spec", {})
    _template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1
    labels = spec["template"]["metadata"].get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = labels
    if spec.get("completionMode") is None:
        spec["completionMode"] = "NonIndexed"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    policy = spec.get("podFailurePolicy")
    if policy is not None:
        for rule in policy.get("rules") or ():
            for pattern in rule.get("onPodConditions") or ():
                if not pattern.get("status"):
                    pattern["status"] = "True"
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False
    if spec.get("podReplacementPolicy") is None:
        spec["podReplacementPolicy"] = "Failed" if policy is not None else "TerminatingOrFailed"
    obj.setdefault("status", {})


def default_cron_job(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("schedule", "")
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if spec.get("successfulJobsHistoryLimit") is None:
        spec["successfulJobsHistoryLimit"] = 3
    if spec.get("failedJobsHistoryLimit") is None:
        spec["failedJobsHistoryLimit"] = 1
    template = spec.setdefault("jobTemplate", {})
    template.setdefault("metadata", {})
    _template(template.setdefault("spec", {}))
    obj.setdefault("status", {})


DEFAULTS = {("batch", "jobs"): default_job, ("batch", "cronjobs"): default_cron_job}
