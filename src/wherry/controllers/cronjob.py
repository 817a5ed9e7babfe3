"""The CronJob controller: a Job for each time of a schedule.

Watches CronJobs and the Jobs they own. Writes Jobs (create, delete) and the CronJob's status. Guarantees that one time
of the schedule makes at most one Job: its name is the CronJob's with the scheduled minute. Of the times that were
missed only the last is made up for, and only within ``startingDeadlineSeconds``. Does not run two Jobs at once where
the policy is Forbid or Replace.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wherry.api import cron, errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CRONJOBS, JOBS
from wherry.client.cache import by_controller_uid
from wherry.client.events import NORMAL, WARNING
from wherry.controllers.controller import Controller, is_namespace_terminating
from wherry.controllers.jobplan import is_job_finished
from wherry.controllers.refs import CONTROLLER
from wherry.util import clock

_SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY_MISSED = 100
_DELTA = 0.1  # be called just after the scheduled time, never just before it


@dataclass(frozen=True, slots=True)
class Inputs:
    """`jobs` are those that the CronJob controls."""

    cron_job: Object
    jobs: tuple[Object, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """`status` without the Job in `create`, which is added when it exists; `scheduled` is the time it is for;
    `replaced` are running Jobs and `expired` finished ones to delete; `events` are (type, reason, message)."""

    status: Object
    create: Object | None = None
    scheduled: datetime | None = None
    replaced: tuple[Object, ...] = ()
    expired: tuple[Object, ...] = ()
    events: tuple[tuple[str, str, str], ...] = ()
    again: float | None = None


def plan(inputs: Inputs) -> Plan:
    """Return what a CronJob has to do now.

    ``*/5 * * * *``, last run at 10:00, now 10:07: create the Job of 10:05 and look again at 10:10.
    """
    owner, spec, events = inputs.cron_job, inputs.cron_job["spec"], []
    status, seen = _status(inputs)
    events += seen
    expired = _expired(spec, inputs.jobs)
    done = Plan(status, expired=expired, events=tuple(events))
    if meta.is_deleting(owner) or spec.get("suspend"):
        return done
    try:
        schedule, zone = cron.parse(spec["schedule"]), _zone(spec.get("timeZone"))
    except ValueError as error:
        reason = "UnparseableSchedule" if "zone" not in str(error) else "UnknownTimeZone"
        event = (WARNING, reason, f"unparseable schedule {spec['schedule']!r}: {error}")
        return Plan(status, expired=expired, events=(*events, event))
    due, missed = most_recent(schedule, zone, since=_earliest(inputs), now=inputs.now)
    following = schedule.next(inputs.now, zone)
    again = (following - inputs.now).total_seconds() + _DELTA if following else None
    if missed > _MANY_MISSED:
        message = (
            f"too many missed start times: {missed}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        )
        events.append((WARNING, "TooManyMissedTimes", message))
    waiting = Plan(status, expired=expired, events=tuple(events), again=again)
    if due is None or clock.timestamp(due) == (owner.get("status") or {}).get("lastScheduleTime"):
        return waiting
    running = {entry["uid"] for entry in status.get("active") or ()}
    active = [job for job in inputs.jobs if meta.uid(job) in running and not meta.is_deleting(job)]
    policy = spec.get("concurrencyPolicy", "Allow")
    if policy == "Forbid" and status.get("active"):
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        return Plan(status, expired=expired, events=(*events, (NORMAL, "JobAlreadyActive", message)), again=again)
    job = new_job(owner, due, zone=zone)
    replaced = tuple(active) if policy == "Replace" else ()
    return Plan(status, job, due, replaced, expired, tuple(events), again)


def most_recent(
    schedule: cron.Schedule, zone: tzinfo, *, since: datetime, now: datetime
) -> tuple[datetime | None, int]:
    """Return the last scheduled time after `since` and not after `now`, and how many there were (at most 101)."""
    first = schedule.next(since, zone)
    if first is None or first > now:
        return None, 0
    found, count = first, 1
    while (following := schedule.next(found, zone)) is not None and following <= now:
        found, count = following, count + 1
        if count > _MANY_MISSED:
            # Far behind: go on from shortly before now instead of through every time.
            return _last_before(schedule, zone, now=now) or found, count
    return found, count


def _last_before(schedule: cron.Schedule, zone: tzinfo, *, now: datetime) -> datetime | None:
    for back in (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366)):
        found, following = None, schedule.next(now - back, zone)
        while following is not None and following <= now:
            found, following = following, schedule.next(following, zone)
        if found is not None:
            return found
    return None


def _zone(name: str | None) -> tzinfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"unknown time zone {name}") from None


def _earliest(inputs: Inputs) -> datetime:
    owner = inputs.cron_job
    last = (owner.get("status") or {}).get("lastScheduleTime")
    since = clock.parse(last or owner["metadata"]["creationTimestamp"])
    deadline = owner["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, inputs.now - timedelta(seconds=deadline))
    return since


def _status(inputs: Inputs) -> tuple[Object, list[tuple[str, str, str]]]:
    """Return the status with the Jobs that are active now, and events for what has ended.

    A Job that somebody else made from the template is none of them: it neither holds the next one back nor is replaced.
    """
    old = inputs.cron_job.get("status") or {}
    events: list[tuple[str, str, str]] = []
    status: Object = {name: value for name, value in old.items() if name != "active"}
    known = {entry.get("uid", ""): entry for entry in old.get("active") or ()}
    jobs = {meta.uid(job): job for job in inputs.jobs}
    active = []
    for uid, entry in known.items():
        job = jobs.get(uid)
        if job is None:
            events.append((WARNING, "MissingJob", f"Active job went missing: {entry.get('name', '')}"))
        elif is_job_finished(job):
            ended = "Complete" if meta.is_true(job, "Complete") else "Failed"
            events.append(
                (NORMAL, "SawCompletedJob", f"Saw completed job: {entry.get('name', '')}, condition: {ended}")
            )
        else:
            active.append(entry)
    for uid, job in jobs.items():
        if uid not in known and not is_job_finished(job):
            text = f"Saw a job that the controller did not create or forgot: {meta.name(job)}"
            events.append((WARNING, "UnexpectedJob", text))
    if active:
        status["active"] = active
    ends = [
        job["status"]["completionTime"]
        for job in inputs.jobs
        if meta.is_true(job, "Complete") and job["status"].get("completionTime")
    ]
    if ends:
        status["lastSuccessfulTime"] = max([*ends, *filter(None, [old.get("lastSuccessfulTime")])])
    return status, events


def reference(job: Object) -> Object:
    """Return the entry of ``status.active`` for a Job."""
    return {
        "kind": "Job",
        "apiVersion": "batch/v1",
        "namespace": meta.namespace(job),
        "name": meta.name(job),
        "uid": meta.uid(job),
        "resourceVersion": job["metadata"].get("resourceVersion", ""),
    }


def _expired(spec: Object, jobs: Sequence[Object]) -> tuple[Object, ...]:
    """Return the finished Jobs beyond the history limits, oldest first."""
    found: list[Object] = []
    for kind, limit in (
        ("Complete", spec.get("successfulJobsHistoryLimit", 3)),
        ("Failed", spec.get("failedJobsHistoryLimit", 1)),
    ):
        ended = [job for job in jobs if meta.is_true(job, kind) and not meta.is_deleting(job)]
        ended.sort(key=lambda job: ((job.get("status") or {}).get("startTime") or "", meta.name(job)))
        found += ended[: max(0, len(ended) - limit)]
    return tuple(found)


def new_job(owner: Object, at: datetime, *, zone: tzinfo) -> Object:
    """Return the Job of a CronJob for a scheduled time."""
    template = owner["spec"]["jobTemplate"]
    metadata = template.get("metadata") or {}
    stamp = at.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
    md: Object = {
        "name": f"{meta.name(owner)}-{int(at.timestamp()) // 60}",
        "namespace": meta.namespace(owner),
        "annotations": {**(metadata.get("annotations") or {}), _SCHEDULED_AT: stamp},
        "ownerReferences": [meta.controller_ref(owner)],
    }
    if metadata.get("labels"):
        md["labels"] = dict(metadata["labels"])
    return {"kind": "Job", "apiVersion": "batch/v1", "metadata": md, "spec": meta.copy(template["spec"])}


class CronJobController(Controller):
    name = "cronjob-controller"

    def register(self) -> None:
        self._cron_jobs = self.watch(CRONJOBS)
        self._jobs = self.watch_owned(JOBS, CRONJOBS)
        self._jobs.add_index(CONTROLLER, by_controller_uid)

    async def reconcile(self, key: str) -> float | None:
        owner = self._cron_jobs.lister.get(key)
        if owner is None:
            return None
        jobs = self._jobs.lister.by_index(CONTROLLER, meta.uid(owner))
        todo = plan(Inputs(owner, tuple(jobs), clock.now()))
        for kind, reason, message in todo.events:
            self.recorder.event(owner, kind, reason, message)
        status = todo.status
        for job in todo.replaced:
            await self._delete(key, owner, job)
            status = _without(status, job)
        if todo.create is not None and todo.scheduled is not None:
            made = await self._create(key, owner, todo.create)
            if made is None:
                return todo.again
            status = {**_without(status, made), "lastScheduleTime": clock.timestamp(todo.scheduled)}
            status["active"] = [*status.get("active", ()), reference(made)]
            skew = (clock.now() - todo.scheduled).total_seconds()
            self.meter.observe("cronjob_controller_job_creation_skew_duration_seconds", skew)
        if status != (owner.get("status") or {}):
            try:
                self.wrote(key, CRONJOBS, await self.client.update_status(CRONJOBS, {**owner, "status": status}))
            except errors.NotFound:
                return None
        for job in todo.expired:
            await self._delete(key, owner, job)
        return todo.again

    async def _create(self, key: str, owner: Object, job: Object) -> Object | None:
        try:
            made = await self.client.create(JOBS, job)
        except errors.AlreadyExists:
            # Made before, and the status did not get there.
            found = await self.client.get(JOBS, meta.name(job), meta.namespace(job))
            ref = meta.controller_of(found)
            if ref is None or ref["uid"] != meta.uid(owner):
                self.recorder.event(owner, WARNING, "FailedCreate", f"Error creating job: {meta.name(job)} exists")
                return None
            return found
        except errors.StatusError as error:
            if is_namespace_terminating(error):
                return None
            self.recorder.event(owner, WARNING, "FailedCreate", f"Error creating job: {error}")
            raise
        self.recorder.event(owner, NORMAL, "SuccessfulCreate", f"Created job {meta.name(made)}")
        return self.wrote(key, JOBS, made)

    async def _delete(self, key: str, owner: Object, job: Object) -> None:
        options = {"propagationPolicy": "Background", "preconditions": {"uid": meta.uid(job)}}
        try:
            gone = await self.client.delete(JOBS, meta.name(job), meta.namespace(job), options=options)
        except errors.NotFound:
            return
        self.wrote(key, JOBS, gone)
        self.recorder.event(owner, NORMAL, "SuccessfulDelete", f"Deleted job {meta.name(job)}")


def _without(status: Object, job: Object) -> Object:
    active = [entry for entry in status.get("active") or () if entry["uid"] != meta.uid(job)]
    rest = {name: value for name, value in status.items() if name != "active"}
    return {**rest, "active": active} if active else rest
