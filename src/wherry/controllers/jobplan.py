"""What to do for a Job: pure, from the Job and its pods to a status, pods to create, to delete and to let go of."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from wherry.api import meta
from wherry.api.meta import Object
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import indexes
from wherry.controllers import pods as podutil
from wherry.controllers.podfailurepolicy import match
from wherry.util import clock

FINALIZER = "batch.kubernetes.io/job-tracking"
FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURE_COUNT = "batch.kubernetes.io/job-index-ignored-failure-count"
_BURST = 500
_BACKOFF = 10.0
_MAX_BACKOFF = 600.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """`pods` are all that the Job controls."""

    job: Object
    pods: tuple[Object, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class NewPod:
    """A pod to create: the completion index of an Indexed Job, and annotations."""

    index: int | None = None
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """An event about the Job."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`release` are pods that lose the tracking finalizer once `status` is written."""

    status: Object
    create: tuple[NewPod, ...] = ()
    delete: tuple[Object, ...] = ()
    release: tuple[Object, ...] = ()
    events: tuple[Event, ...] = ()
    again: float | None = None


def has_finalizer(pod: Object) -> bool:
    """Tell whether the pod has not been counted for good."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def is_job_finished(job: Object) -> bool:
    """Tell whether the Job is Complete or Failed."""
    return meta.is_true(job, "Complete") or meta.is_true(job, "Failed")


def plan(inputs: Inputs) -> Plan:
    """Return the next step of a Job.

    Want 3 completions with parallelism 2, have 1 succeeded and 1 running: create 1.
    """
    return _Step(inputs).run()


def finish_time(pod: Object) -> datetime:
    """Return when the pod's last container ended; else when it was deleted, became not ready or was created."""
    status = pod.get("status") or {}
    ends = [
        ((entry.get("state") or {}).get("terminated") or {}).get("finishedAt")
        for entry in status.get("containerStatuses") or ()
    ]
    known = [end for end in ends if end]
    ready = meta.condition(pod, "Ready") or {}
    md = pod["metadata"]
    text = max(known, default=None) or md.get("deletionTimestamp") or ready.get("lastTransitionTime")
    return clock.parse(text or md["creationTimestamp"])


class _Step:
    def __init__(self, inputs: Inputs) -> None:
        self.job, self.pods, self.now = inputs.job, inputs.pods, inputs.now
        self.spec = self.job["spec"]
        self.old = self.job.get("status") or {}
        self.stamp = clock.timestamp(inputs.now)
        self.indexed = self.spec.get("completionMode") == "Indexed"
        self.completions: int | None = self.spec.get("completions")
        self.parallelism = self.spec.get("parallelism", 1)
        self.per_index: int | None = self.spec.get("backoffLimitPerIndex")
        self.conditions = list(self.old.get("conditions") or ())
        self.start = self.old.get("startTime")
        self.events: list[Event] = []
        self.again: float | None = None
        self.succeeded: int = self.old.get("succeeded", 0)
        self.failed: int = self.old.get("failed", 0)
        waiting = self.old.get("uncountedTerminatedPods") or {}
        self.uncounted = {kind: list(waiting.get(kind) or ()) for kind in ("succeeded", "failed")}
        self.completed = indexes.parse(self.old.get("completedIndexes", ""), completions=self.completions or 0)
        self.failed_indexes = indexes.parse(self.old.get("failedIndexes", ""), completions=self.completions or 0)
        self.release: list[Object] = []
        self.active = [pod for pod in self.pods if podutil.is_active(pod)]
        self.terminating = [pod for pod in self.pods if podutil.is_terminating(pod)]

    # Counting.

    def _count(self) -> None:
        tracked = {meta.uid(pod) for pod in self.pods if has_finalizer(pod)}
        for kind in ("succeeded", "failed"):
            counted = [uid for uid in self.uncounted[kind] if uid not in tracked]
            self.uncounted[kind] = [uid for uid in self.uncounted[kind] if uid in tracked]
            if kind == "failed":
                self.failed += len(counted)
            elif not self.indexed:
                self.succeeded += len(counted)
        for pod in self.pods:
            if has_finalizer(pod) and self._count_pod(pod):
                self.release.append(pod)
        if self.indexed:
            self.succeeded = len(self.completed)

    def _count_pod(self, pod: Object) -> bool:
        """Put a finished pod on record; tell whether its finalizer may go."""
        uid = meta.uid(pod)
        if podutil.phase(pod) == "Succeeded":
            if self.indexed:
                index = indexes.of_pod(pod)
                if index is not None and index < (self.completions or 0):
                    self.completed.add(index)
            elif uid not in self.uncounted["succeeded"]:
                self.uncounted["succeeded"].append(uid)
            return True
        if not self._has_failed(pod):
            return False
        found = match(self.spec.get("podFailurePolicy"), pod)
        if self.per_index is not None:
            self._count_index_failure(pod, found.action if found else "Count")
        if uid not in self.uncounted["failed"] and not (found and found.action == "Ignore"):
            self.uncounted["failed"].append(uid)
        return True

    def _has_failed(self, pod: Object) -> bool:
        if podutil.phase(pod) == "Failed":
            return True
        # A pod that is being deleted counts at once, unless it is only replaced when it has ended.
        return podutil.is_terminating(pod) and (not self._replaces_failed_only() or self._target() is not None)

    def _replaces_failed_only(self) -> bool:
        return self.spec.get("podReplacementPolicy") == "Failed" or bool(self.spec.get("podFailurePolicy"))

    def _count_index_failure(self, pod: Object, action: str) -> None:
        index = indexes.of_pod(pod)
        if index is None or self.per_index is None:
            return
        failures = _number(pod, FAILURE_COUNT) + (0 if action == "Ignore" else 1)
        if action == "FailIndex" or failures > self.per_index:
            self.failed_indexes.add(index)

    @property
    def total_succeeded(self) -> int:
        return self.succeeded + len(self.uncounted["succeeded"])

    @property
    def total_failed(self) -> int:
        return self.failed + len(self.uncounted["failed"])

    # Conditions.

    def _condition(self, kind: str) -> Object | None:
        return next((entry for entry in self.conditions if entry["type"] == kind), None)

    def _set_condition(self, kind: str, status: str, reason: str, message: str) -> bool:
        """Set a condition and tell whether it changed."""
        before = self._condition(kind)
        if before is not None and before["status"] == status:
            return False
        new = {
            "type": kind,
            "status": status,
            "lastProbeTime": self.stamp,
            "lastTransitionTime": self.stamp,
            "reason": reason,
            "message": message,
        }
        self.conditions = [entry for entry in self.conditions if entry["type"] != kind] + [new]
        return True

    def _target(self) -> Object | None:
        """Return the condition that says how the Job is going to end."""
        for kind in ("FailureTarget", "SuccessCriteriaMet"):
            found = self._condition(kind)
            if found is not None and found["status"] == "True":
                return found
        return None

    def _decide(self) -> None:
        """Find out whether the Job has failed or succeeded."""
        if self._target() is not None:
            return
        failure = self._failure()
        if failure is not None:
            self._set_condition("FailureTarget", "True", *failure)
            return
        if (rule := self._success_rule()) is not None:
            self._set_condition("SuccessCriteriaMet", "True", "SuccessPolicy", f"Matched rules at index {rule}")
            return
        if self._all_done():
            message = "Reached expected number of succeeded pods"
            self._set_condition("SuccessCriteriaMet", "True", "CompletionsReached", message)

    def _failure(self) -> tuple[str, str] | None:
        for pod in self.pods:
            if podutil.phase(pod) == "Failed":
                found = match(self.spec.get("podFailurePolicy"), pod)
                if found is not None and found.action == "FailJob":
                    return "PodFailurePolicy", found.message
        if self.total_failed > self.spec.get("backoffLimit", 6) or self._restarted_too_often():
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if self._past_deadline():
            return "DeadlineExceeded", "Job was active longer than specified deadline"
        maximum = self.spec.get("maxFailedIndexes")
        if maximum is not None and len(self.failed_indexes) > maximum:
            return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
        complete = self.completions is not None and len(self.completed | self.failed_indexes) >= self.completions
        if self.failed_indexes and complete:
            return "FailedIndexes", "Job has failed indexes"
        return None

    def _restarted_too_often(self) -> bool:
        if (self.spec["template"]["spec"].get("restartPolicy")) != "OnFailure":
            return False
        limit = self.spec.get("backoffLimit", 6)
        restarts = sum(
            entry.get("restartCount", 0)
            for pod in self.active
            for kind in ("containerStatuses", "initContainerStatuses")
            for entry in (pod.get("status") or {}).get(kind) or ()
        )
        return restarts > 0 if limit == 0 else restarts >= limit

    def _past_deadline(self) -> bool:
        seconds = self.spec.get("activeDeadlineSeconds")
        if seconds is None or not self.start or self.spec.get("suspend"):
            return False
        left = (clock.parse(self.start) + timedelta(seconds=seconds) - self.now).total_seconds()
        if left > 0:
            self._call_again(left)
        return left <= 0

    def _success_rule(self) -> int | None:
        if not self.indexed:
            return None
        for number, rule in enumerate((self.spec.get("successPolicy") or {}).get("rules") or ()):
            done = self.completed
            if rule.get("succeededIndexes"):
                wanted = indexes.parse(rule["succeededIndexes"], completions=self.completions or 0)
                done = done & wanted
                if rule.get("succeededCount") is None and done != wanted:
                    continue
            if len(done) >= (rule.get("succeededCount") or 0):
                return number
        return None

    def _all_done(self) -> bool:
        if self.completions is None:
            return self.total_succeeded > 0 and not self.active
        return self.total_succeeded >= self.completions

    def _end(self) -> str | None:
        """Return the completion time when the Job has ended for good, after setting its last condition."""
        target = self._target()
        if target is None or self.active or self.terminating or any(self.uncounted.values()):
            return None
        kind = "Failed" if target["type"] == "FailureTarget" else "Complete"
        self._set_condition(kind, "True", target.get("reason", ""), target.get("message", ""))
        if kind == "Failed":
            self.events.append(Event(WARNING, target.get("reason", ""), target.get("message", "")))
            return None
        self.events.append(Event(NORMAL, "Completed", "Job completed"))
        return self.stamp

    def _note_suspension(self) -> None:
        if self.spec.get("suspend"):
            if self._set_condition("Suspended", "True", "JobSuspended", "Job suspended"):
                self.events.append(Event(NORMAL, "Suspended", "Job suspended"))
        elif (before := self._condition("Suspended")) is not None and before["status"] == "True":
            self._set_condition("Suspended", "False", "JobResumed", "Job resumed")
            self.events.append(Event(NORMAL, "Resumed", "Job resumed"))
            self.start = self.stamp

    # Pods.

    def run(self) -> Plan:
        if not self.start and not self.spec.get("suspend"):
            self.start = self.stamp
        self._count()
        if not meta.is_deleting(self.job):
            self._decide()
        delete: list[Object] = []
        create: list[NewPod] = []
        if self._target() is not None:
            delete = list(self.active)
        elif not meta.is_deleting(self.job):
            self._note_suspension()
            delete, create = self._manage()
        gone = {meta.uid(pod) for pod in delete}
        self.terminating += [pod for pod in self.active if meta.uid(pod) in gone]
        self.active = [pod for pod in self.active if meta.uid(pod) not in gone]
        return Plan(
            self._status(len(create), self._end()),
            tuple(create),
            tuple(delete),
            tuple(self.release),
            tuple(self.events),
            self.again,
        )

    def _manage(self) -> tuple[list[Object], list[NewPod]]:
        """Return the pods to delete and to create."""
        if self.spec.get("suspend"):
            return list(self.active), []
        if self.completions is None:
            want = len(self.active) if self.total_succeeded > 0 else self.parallelism
        else:
            done = self.total_succeeded + len(self.failed_indexes - self.completed)
            want = max(0, min(self.completions - done, self.parallelism))
        surplus = self._surplus(want)
        if surplus:
            return surplus[:_BURST], []
        have = len(self.active) + (len(self.terminating) if self._replaces_failed_only() else 0)
        missing = min(want - have, _BURST)
        return [], self._new_pods(missing) if missing > 0 else []

    def _surplus(self, want: int) -> list[Object]:
        """Return the active pods beyond `want`; of an Indexed Job first those whose index needs none."""
        superfluous: list[Object] = []
        if self.indexed:
            seen: set[int | None] = set(self.completed | self.failed_indexes)
            ranked = reversed(podutil.rank_for_deletion(self.active, related_on_node={}, now=self.now))
            for pod in ranked:
                index = indexes.of_pod(pod)
                if index in seen or index is None or index >= (self.completions or 0):
                    superfluous.append(pod)
                seen.add(index)
        uids = {meta.uid(pod) for pod in superfluous}
        rest = [pod for pod in self.active if meta.uid(pod) not in uids]
        over = len(rest) - want
        if over > 0:
            superfluous += podutil.rank_for_deletion(rest, related_on_node={}, now=self.now)[:over]
        return superfluous

    def _new_pods(self, count: int) -> list[NewPod]:
        if not self.indexed:
            wait = self._backoff(self.pods)
            if wait > 0:
                self._call_again(wait)
                return []
            return [NewPod()] * count
        if self.per_index is None:
            wait = self._backoff(self.pods)
            if wait > 0:
                self._call_again(wait)
                return []
        busy = {indexes.of_pod(pod) for pod in self.active}
        if self._replaces_failed_only():
            busy |= {indexes.of_pod(pod) for pod in self.terminating}
        found: list[NewPod] = []
        for index in range(self.completions or 0):
            if len(found) == count:
                break
            if index in busy or index in self.completed or index in self.failed_indexes:
                continue
            new = self._indexed_pod(index)
            if new is not None:
                found.append(new)
        return found

    def _indexed_pod(self, index: int) -> NewPod | None:
        """Return the pod for an index, None while the index backs off."""
        if self.per_index is None:
            return NewPod(index)
        before = [pod for pod in self.pods if indexes.of_pod(pod) == index and self._has_failed(pod)]
        wait = self._backoff(before)
        if wait > 0:
            self._call_again(wait)
            return None
        if not before:
            return NewPod(index, {FAILURE_COUNT: "0"})
        last = max(before, key=lambda pod: _number(pod, FAILURE_COUNT) + _number(pod, IGNORED_FAILURE_COUNT))
        found = match(self.spec.get("podFailurePolicy"), last)
        ignored = found is not None and found.action == "Ignore"
        counts = {FAILURE_COUNT: str(_number(last, FAILURE_COUNT) + (0 if ignored else 1))}
        total_ignored = _number(last, IGNORED_FAILURE_COUNT) + (1 if ignored else 0)
        if total_ignored:
            counts[IGNORED_FAILURE_COUNT] = str(total_ignored)
        return NewPod(index, counts)

    def _backoff(self, pods: Iterable[Object]) -> float:
        """Return the seconds to wait after the failures since the last success: 10 s, doubling, up to ten minutes."""
        ends = [(finish_time(pod), podutil.phase(pod)) for pod in pods if not podutil.is_active(pod)]
        last_success = max((end for end, phase in ends if phase == "Succeeded"), default=None)
        failures = [end for end, phase in ends if phase != "Succeeded" and (last_success is None or end > last_success)]
        if not failures:
            return 0.0
        delay = min(_BACKOFF * 2 ** (len(failures) - 1), _MAX_BACKOFF)
        return delay - (self.now - max(failures)).total_seconds()

    def _call_again(self, delay: float) -> None:
        self.again = delay if self.again is None else min(self.again, delay)

    def _status(self, created: int, completion_time: str | None) -> Object:
        status: Object = {}
        if self.conditions:
            status["conditions"] = self.conditions
        counts = {"active": len(self.active) + created, "succeeded": self.succeeded, "failed": self.failed}
        status |= {name: count for name, count in counts.items() if count}
        status["ready"] = sum(podutil.is_ready(pod) for pod in self.active)
        status["terminating"] = len(self.terminating)
        if self.start:
            status["startTime"] = self.start
        if completion_time or self.old.get("completionTime"):
            status["completionTime"] = completion_time or self.old["completionTime"]
        if self.indexed and self.completed:
            status["completedIndexes"] = indexes.render(self.completed)
        if self.per_index is not None:
            status["failedIndexes"] = indexes.render(self.failed_indexes)
        status["uncountedTerminatedPods"] = {kind: uids for kind, uids in self.uncounted.items() if uids}
        return status


def _number(pod: Object, annotation: str) -> int:
    text = meta.annotations(pod).get(annotation, "")
    return int(text) if text.isdigit() else 0
