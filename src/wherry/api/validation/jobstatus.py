"""The status of a Job: where it may go from where it is (batch ``validateJobStatus``)."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation.indexes import count_indexes, overlap
from wherry.api.validation.shared import non_negative

Obj = dict[str, Any]
Errors = list[FieldError]

_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_ENDS = ("Failed", "Complete", "FailureTarget")
_CONDITIONS = "status.conditions"


class _Change:
    """The new and the old status of a Job, and what differs: what stays as it was is not looked at again."""

    def __init__(self, obj: Obj, old: Obj) -> None:
        self.spec: Obj = obj["spec"]
        self.new: Obj = obj.get("status") or {}
        self.old: Obj = old.get("status") or {}
        self.true = _true_conditions(self.new)
        self.was_true = _true_conditions(self.old)
        self.finished = bool(self.true & {"Complete", "Failed"})

    def of(self, *members: str) -> bool:
        """Tell whether a member has changed; ``Complete`` and its like are conditions, ``finished`` is two of them."""
        return any(self._of(m) for m in members)

    def _of(self, member: str) -> bool:
        if member == "finished":
            return self.finished != bool(self.was_true & {"Complete", "Failed"})
        if member[0].isupper():
            return (member in self.true) != (member in self.was_true)
        return (self.new.get(member) or None) != (self.old.get(member) or None)


def _true_conditions(status: Obj) -> set[str]:
    return {c.get("type", "") for c in status.get("conditions") or () if c.get("status") == "True"}


def job_status(obj: Obj, old: Obj) -> Errors:
    """Check an update of the status of a Job."""
    change = _Change(obj, old)
    status = change.new
    errors = [e for m in _COUNTS for e in non_negative(status.get(m), f"status.{m}")]
    errors += _uncounted(status.get("uncountedTerminatedPods") or {})
    errors += _ended(change) + _finished(change) + _indexes(change) + _late(change)
    return errors + _transitions(change)


def _conditions(detail: str) -> FieldError:
    return field.invalid(_CONDITIONS, field.OMIT, detail)


def _uncounted(uncounted: Obj) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for member in ("succeeded", "failed"):
        for i, uid in enumerate(uncounted.get(member) or ()):
            path = f"status.uncountedTerminatedPods.{member}[{i}]"
            if not uid:
                errors.append(field.invalid(path, uid, "must not be empty"))
            elif uid in seen:
                errors.append(field.duplicate(path, uid))
            seen.add(uid)
    return errors


def _ended(change: _Change) -> Errors:
    """A Job ends one way only, and says when."""
    errors: Errors = []
    status, true = change.new, change.true
    complete = "Complete" in true
    started, completed, at = status.get("startTime"), status.get("completionTime"), "status.completionTime"
    if change.of("Complete", "Failed") and complete and "Failed" in true:
        errors.append(_conditions("cannot set Complete=True and Failed=true conditions"))
    if change.of("Complete", "FailureTarget") and complete and "FailureTarget" in true:
        errors.append(_conditions("cannot set Complete=True and FailureTarget=true conditions"))
    if change.of("Complete", "completionTime"):
        if completed and not complete:
            detail = "cannot set completionTime when there is no Complete=True condition"
            errors.append(field.invalid(at, completed, detail))
        if complete and not completed:
            errors.append(field.required(at, "completionTime is required for Complete jobs"))
    # Times of the API are text that sorts.
    if change.of("startTime", "completionTime") and started and completed and completed < started:
        errors.append(field.invalid(at, completed, "completionTime cannot be set before startTime"))
    if change.of("Failed", "FailureTarget") and "Failed" in true and "FailureTarget" not in true:
        errors.append(_conditions("cannot set Failed=True condition without the FailureTarget=true condition"))
    if change.of("Complete", "SuccessCriteriaMet") and complete and "SuccessCriteriaMet" not in true:
        errors.append(_conditions("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"))
    return errors


def _finished(change: _Change) -> Errors:
    if not change.finished:
        return []
    errors: Errors = []
    status = change.new
    if change.of("finished", "active") and (status.get("active") or 0) > 0:
        errors.append(field.invalid("status.active", status["active"], "active>0 is invalid for finished job"))
    never_ran = change.spec.get("suspend") and change.spec.get("completions") == 0
    if change.of("finished", "startTime") and not never_ran and not status.get("startTime"):
        errors.append(field.required("status.startTime", "startTime is required for finished job"))
    uncounted = status.get("uncountedTerminatedPods") or {}
    if change.of("finished", "uncountedTerminatedPods") and any(uncounted.get(m) for m in ("succeeded", "failed")):
        detail = "uncountedTerminatedPods needs to be empty for finished job"
        shown = {"Succeeded": uncounted.get("succeeded"), "Failed": uncounted.get("failed")}
        errors.append(field.invalid("status.uncountedTerminatedPods", shown, detail))
    return errors


def _indexes(change: _Change) -> Errors:
    errors: Errors = []
    completed, failed = change.new.get("completedIndexes") or "", change.new.get("failedIndexes")
    completions, limited = change.spec.get("completions"), change.spec.get("backoffLimitPerIndex") is not None
    completed_changed, failed_changed = change.of("completedIndexes"), change.of("failedIndexes")
    for member, value, look in (
        ("completedIndexes", completed, completed_changed),
        ("failedIndexes", failed or "", failed_changed and limited),
    ):
        wrong = count_indexes(value, completions)[1] if look and completions is not None else ""
        if wrong:
            errors.append(field.invalid(f"status.{member}", value, f"error parsing {member}: {wrong}"))
    if completed_changed and completed and change.spec.get("completionMode") != "Indexed":
        detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
        errors.append(field.invalid("status.completedIndexes", completed, detail))
    if failed_changed and failed is not None and not limited:
        detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        errors.append(field.invalid("status.failedIndexes", failed, detail))
    if (completed_changed or failed_changed) and completions is not None and failed:
        index = overlap(completed, failed, completions)
        if index is not None:
            detail = f"failedIndexes and completedIndexes overlap at index: {index}"
            errors.append(field.invalid("status.failedIndexes", failed, detail))
    return errors


def _late(change: _Change) -> Errors:
    errors: Errors = []
    status, true = change.new, change.true
    terminating, ready = status.get("terminating") or 0, status.get("ready") or 0
    if change.of("finished", "terminating") and terminating > 0 and change.finished:
        detail = "terminating>0 is invalid for finished job"
        errors.append(field.invalid("status.terminating", terminating, detail))
    if change.of("ready", "active") and ready > (status.get("active") or 0):
        errors.append(field.invalid("status.ready", ready, "cannot set more ready pods than active"))
    if "SuccessCriteriaMet" in true:
        errors += [
            _conditions(f"cannot set SuccessCriteriaMet=True and {kind}=true conditions")
            for kind in ("Failed", "FailureTarget")
            if kind in true
        ]
    elif change.spec.get("successPolicy") is not None and "Complete" in true:
        detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        errors.append(_conditions(detail))
    return errors


def _transitions(change: _Change) -> Errors:
    """What has happened cannot be undone."""
    spec, new, old = change.spec, change.new, change.old
    errors = [
        _conditions(f"cannot disable the terminal {kind}=True condition")
        for kind in _ENDS
        if kind in change.was_true and kind not in change.true
    ]
    # An elastic indexed Job may be scaled down, and then has succeeded less often.
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for member in ("failed",) if elastic else ("failed", "succeeded"):
        if (new.get(member) or 0) < (old.get(member) or 0):
            detail = f"cannot decrease the {member} counter"
            errors.append(field.invalid(f"status.{member}", new.get(member) or 0, detail))
    completed = new.get("completionTime")
    if completed and old.get("completionTime") not in (None, completed):
        errors.append(field.invalid("status.completionTime", completed, "completionTime cannot be mutated"))
    resumed = "Suspended" in change.was_true and "Suspended" not in change.true
    if old.get("startTime") and change.of("startTime") and not spec.get("suspend") and not resumed:
        errors.append(field.required("status.startTime", "startTime cannot be removed for unsuspended job"))
    met, was_met = "SuccessCriteriaMet" in change.true, "SuccessCriteriaMet" in change.was_true
    if was_met and not met:
        errors.append(_conditions("cannot disable the SuccessCriteriaMet=True condition"))
    if met and not was_met and "Complete" in change.was_true:
        detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        errors.append(_conditions(detail))
    return errors
