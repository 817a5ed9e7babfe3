"""Cells of the batch group."""

from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.printers.text import NONE, age, containers, duration, label_selector, name, since, spec, status
from wherry.util import clock


def cron_job(obj: Object) -> list[Any]:
    last = status(obj).get("lastScheduleTime")
    job = (spec(obj).get("jobTemplate") or {}).get("spec") or {}
    return [
        name(obj),
        spec(obj).get("schedule", ""),
        spec(obj).get("timeZone") or NONE,
        str(bool(spec(obj).get("suspend"))),
        len(status(obj).get("active") or ()),
        since(last) if last else NONE,
        age(obj),
        *containers(job.get("template")),
        label_selector(job.get("selector")),
    ]


def job(obj: Object) -> list[Any]:
    return [
        name(obj),
        _state(obj),
        _completions(obj),
        _duration(obj),
        age(obj),
        *containers(spec(obj).get("template")),
        label_selector(spec(obj).get("selector")),
    ]


def _state(obj: Object) -> str:
    for kind in ("Complete", "Failed"):
        if meta.is_true(obj, kind):
            return kind
    if meta.is_deleting(obj):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget"):
        if meta.is_true(obj, kind):
            return kind
    return "Running"


def _completions(obj: Object) -> str:
    succeeded, parallelism = status(obj).get("succeeded", 0), spec(obj).get("parallelism") or 0
    if spec(obj).get("completions") is not None:
        return f"{succeeded}/{spec(obj)['completions']}"
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(obj: Object) -> str:
    began, ended = status(obj).get("startTime"), status(obj).get("completionTime")
    if not began:
        return ""
    return duration((clock.parse(ended) if ended else clock.now()) - clock.parse(began))


CELLS = {("batch", "cronjobs"): cron_job, ("batch", "jobs"): job}
