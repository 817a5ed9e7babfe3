from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running
from wherry.api import cron, meta
from wherry.api.resources import CRONJOBS, JOBS
from wherry.controllers.cronjob import CronJobController, new_job
from wherry.controllers.ttlafterfinished import TTLAfterFinishedController
from wherry.util import clock


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("30 8 * * mon-fri", "2026-01-02T09:00:00", "2026-01-05T08:30:00"),
        ("0 0 13 * 5", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("@hourly", "2026-01-01T00:59:59", "2026-01-01T01:00:00"),
        ("@every 90s", "2026-01-01T00:00:00", "2026-01-01T00:01:30"),
        ("15,45 3/6 * jan ?", "2026-01-01T03:20:00", "2026-01-01T03:45:00"),
    ],
)
def test_next_time(schedule: str, after: str, expected: str) -> None:
    assert cron.parse(schedule).next(at(after)) == at(expected)


def test_an_hour_that_the_clock_skips_has_no_times() -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = cron.parse("30 2 * * *").next(at("2026-03-28T12:00:00"), zone)
    assert found is not None and found.astimezone(zone).isoformat() == "2026-03-30T02:30:00+02:00"


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("", "empty spec string"),
        ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("@never", "unrecognized descriptor: @never"),
    ],
)
def test_errors_are_in_the_words_of_the_parser(schedule: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        cron.parse(schedule)
    assert str(caught.value) == message


@given(st.integers(0, 59), st.integers(0, 23), st.integers(0, 10**6))
def test_the_next_time_is_later_and_the_first(minute: int, hour: int, offset: int) -> None:
    after = at("2026-01-01T00:00:00") + timedelta(minutes=offset)
    found = cron.parse(f"{minute} {hour} * * *").next(after)
    assert found is not None and timedelta(0) < found - after <= timedelta(days=1)
    assert (found.minute, found.hour) == (minute, hour)


def cron_job(**spec: object) -> dict:
    return {
        "kind": "CronJob", "apiVersion": "batch/v1", "metadata": {"name": "c", "namespace": "ns", "uid": "u1"},
        "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Allow",
                 "jobTemplate": {"spec": {"template": {}}}, **spec},
    }  # fmt: skip


def finish(cluster: Cluster, job: dict, kind: str = "Complete") -> None:
    now = clock.timestamp()
    job["status"] = {
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now}],
        "startTime": now,
        **({"completionTime": now} if kind == "Complete" else {}),
    }
    cluster.fake.put(job)


async def test_each_minute_makes_one_job_named_after_it() -> None:
    async with running(CronJobController, objects=(cron_job(),)) as cluster:
        await cluster.settle(179)
        names = [meta.name(job) for job in cluster.fake.list(JOBS)]
        minute = int(clock.seconds()) // 60
        assert names == [f"c-{minute - 2}", f"c-{minute - 1}", f"c-{minute}"]
        status = cluster.get(CRONJOBS, "c")["status"]
        assert status["lastScheduleTime"] == "2026-01-01T00:03:00Z" and len(status["active"]) == 3
        annotation = "batch.kubernetes.io/cronjob-scheduled-timestamp"
        assert cluster.fake.list(JOBS)[0]["metadata"]["annotations"][annotation] == "2026-01-01T00:01:00Z"


async def test_forbid_waits_and_replace_replaces() -> None:
    async with running(CronJobController, objects=(cron_job(concurrencyPolicy="Forbid"),)) as cluster:
        await cluster.settle(179)
        [job] = cluster.fake.list(JOBS)
        finish(cluster, job)
        await cluster.settle(60)
        assert len(cluster.get(CRONJOBS, "c")["status"]["active"]) == 1
        assert cluster.get(CRONJOBS, "c")["status"]["lastSuccessfulTime"]
        found = cluster.get(CRONJOBS, "c")
        found["spec"]["concurrencyPolicy"] = "Replace"
        cluster.fake.put(found)
        before = cluster.fake.list(JOBS)
        await cluster.settle(60)
        running_jobs = [job for job in cluster.fake.list(JOBS) if "status" not in job]
        assert len(running_jobs) == 1 and running_jobs[0] not in before


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
async def test_a_job_that_somebody_made_of_the_template_neither_holds_back_nor_is_replaced(policy: str) -> None:
    owner = cron_job(concurrencyPolicy=policy)
    mine = new_job(owner, clock.now(), zone=UTC)
    mine["metadata"] |= {"name": "by-hand", "uid": "j1"}
    async with running(CronJobController, objects=(owner, mine)) as cluster:
        await cluster.settle(61)
        names = sorted(meta.name(job) for job in cluster.fake.list(JOBS))
        assert names == ["by-hand", f"c-{int(clock.seconds()) // 60}"]
        assert [entry["name"] for entry in cluster.get(CRONJOBS, "c")["status"]["active"]] == names[1:]
        seen = "UnexpectedJob: Saw a job that the controller did not create or forgot: by-hand"
        assert seen in await cluster.events()


async def test_history_limits_hold() -> None:
    spec = {"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 0}
    async with running(CronJobController, objects=(cron_job(**spec),)) as cluster:
        for number in range(6):
            await cluster.settle(60)
            for job in cluster.fake.list(JOBS):
                if "status" not in job:
                    finish(cluster, job, "Failed" if number == 2 else "Complete")
        await cluster.settle(1)
        assert [meta.is_true(job, "Complete") for job in cluster.fake.list(JOBS)] == [True, True]


async def test_only_the_last_missed_time_is_made_up_for_within_the_deadline() -> None:
    old = cron_job()
    old["metadata"]["creationTimestamp"] = "2025-12-01T00:00:00Z"
    late = {**cron_job(startingDeadlineSeconds=30, schedule="30 * * * *")}
    late["metadata"] = {"name": "late", "namespace": "ns", "creationTimestamp": "2025-12-01T00:00:00Z"}
    async with running(CronJobController, objects=(old, late)) as cluster:
        assert [meta.name(job) for job in cluster.fake.list(JOBS)] == [f"c-{int(clock.seconds()) // 60}"]
        assert any("too many missed start times" in line for line in await cluster.events())


async def test_a_suspended_cron_job_does_nothing() -> None:
    async with running(CronJobController, objects=(cron_job(suspend=True),)) as cluster:
        await cluster.settle(600)
        assert cluster.fake.list(JOBS) == []


async def test_a_finished_job_goes_when_its_time_to_live_is_over() -> None:
    job = {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "j", "namespace": "ns"},
           "spec": {"ttlSecondsAfterFinished": 100}}  # fmt: skip
    async with running(TTLAfterFinishedController, objects=(job,)) as cluster:
        finish(cluster, cluster.get(JOBS, "j"))
        await cluster.settle(90)
        assert not meta.is_deleting(cluster.get(JOBS, "j"))
        await cluster.settle(20)
        assert meta.is_deleting(cluster.get(JOBS, "j"))
