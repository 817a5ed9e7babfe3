from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controllers.cluster import Cluster, running
from wherry.api import errors, meta
from wherry.api.resources import JOBS, PODS
from wherry.controllers import indexes
from wherry.controllers.garbagecollector import GarbageCollector
from wherry.controllers.job import JobController
from wherry.controllers.jobplan import FINALIZER


def job(**spec: object) -> dict:
    template = {
        "metadata": {"labels": {"job": "j"}},
        "spec": {"containers": [{"name": "c", "image": "x"}], "restartPolicy": "Never"},
    }
    return {
        "kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "j", "namespace": "ns", "uid": "u1"},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
                 "selector": {"matchLabels": {"job": "j"}}, "template": template, **spec},
    }  # fmt: skip


def active(cluster: Cluster) -> list[dict]:
    pods = [
        pod for pod in cluster.pods() if (pod.get("status") or {}).get("phase", "Pending") in ("Pending", "Running")
    ]
    return [pod for pod in pods if not meta.is_deleting(pod)]


def end(cluster: Cluster, pod: dict, phase: str, code: int = 1) -> None:
    statuses = [{"name": "c", "state": {"terminated": {"exitCode": code}}}]
    cluster.set_phase(pod, phase, containerStatuses=statuses if phase == "Failed" else [])


def conditions(cluster: Cluster) -> dict[str, str]:
    found = cluster.get(JOBS, "j")["status"].get("conditions", [])
    return {entry["type"]: entry["reason"] for entry in found if entry["status"] == "True"}


async def test_a_job_runs_its_completions_in_parallel_and_completes() -> None:
    async with running(JobController, objects=(job(parallelism=2, completions=3),)) as cluster:
        assert len(active(cluster)) == 2
        assert FINALIZER in active(cluster)[0]["metadata"]["finalizers"]
        end(cluster, active(cluster)[0], "Succeeded")
        await cluster.settle()
        assert len(active(cluster)) == 2
        for pod in active(cluster):
            end(cluster, pod, "Succeeded")
        await cluster.settle()
        status = cluster.get(JOBS, "j")["status"]
        assert status["succeeded"] == 3 and status["uncountedTerminatedPods"] == {} and "active" not in status
        assert status["completionTime"]
        assert conditions(cluster) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
        assert not any(FINALIZER in (pod["metadata"].get("finalizers") or ()) for pod in cluster.pods())
        assert "Completed: Job completed" in await cluster.events()


async def test_failures_back_off_and_end_at_the_limit() -> None:
    async with running(JobController, objects=(job(backoffLimit=2),)) as cluster:
        for wait in (10, 20):
            end(cluster, active(cluster)[0], "Failed")
            await cluster.settle(wait - 3)
            assert active(cluster) == []
            await cluster.settle(5)
        end(cluster, active(cluster)[0], "Failed")
        await cluster.settle()
        assert conditions(cluster) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
        assert cluster.get(JOBS, "j")["status"]["failed"] == 3


async def test_refused_pods_are_tried_again_calmly_and_not_counted() -> None:
    async with running(JobController) as cluster:
        cluster.fake.fail("create", PODS, errors.Forbidden("exceeded quota"), times=6)
        cluster.fake.put(job())
        await cluster.settle(20)
        assert len(cluster.fake.written("create", PODS)) == 5
        assert "active" not in cluster.get(JOBS, "j")["status"]
        await cluster.settle(60)
        assert len(active(cluster)) == 1
        assert cluster.get(JOBS, "j")["status"]["active"] == 1


async def test_a_pod_deleted_after_it_finished_is_still_counted_once() -> None:
    async with running(JobController, objects=(job(completions=2),)) as cluster:
        [pod] = active(cluster)
        end(cluster, pod, "Succeeded")
        await cluster.client.delete(PODS, meta.name(pod), "ns")
        await cluster.settle()
        assert cluster.get(JOBS, "j")["status"]["succeeded"] == 1
        assert meta.name(pod) not in {meta.name(other) for other in cluster.pods()}


async def test_the_deadline_ends_the_job() -> None:
    async with running(JobController, objects=(job(activeDeadlineSeconds=60),)) as cluster:
        await cluster.settle(70)
        assert conditions(cluster) == {"FailureTarget": "DeadlineExceeded", "Failed": "DeadlineExceeded"}
        assert active(cluster) == []


async def test_a_suspended_job_has_no_pods_until_it_is_resumed() -> None:
    async with running(JobController, objects=(job(),)) as cluster:
        found = cluster.get(JOBS, "j")
        found["spec"]["suspend"] = True
        cluster.fake.put(found)
        await cluster.settle(100)
        assert active(cluster) == [] and conditions(cluster) == {"Suspended": "JobSuspended"}
        found = cluster.get(JOBS, "j")
        found["spec"]["suspend"] = False
        cluster.fake.put(found)
        await cluster.settle()
        assert len(active(cluster)) == 1 and conditions(cluster) == {}
        assert cluster.get(JOBS, "j")["status"]["startTime"] == "2026-01-01T00:01:43Z"


async def test_an_indexed_job_gives_each_index_one_success() -> None:
    async with running(
        JobController, objects=(job(completionMode="Indexed", completions=4, parallelism=4),)
    ) as cluster:
        first = active(cluster)[0]
        assert first["spec"]["hostname"] == f"j-{indexes.of_pod(first)}"
        assert meta.name(first).startswith(f"j-{indexes.of_pod(first)}-")
        assert first["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
        for pod in active(cluster):
            end(cluster, pod, "Failed" if indexes.of_pod(pod) == 2 else "Succeeded")
        await cluster.settle()
        assert cluster.get(JOBS, "j")["status"]["completedIndexes"] == "0,1,3"
        await cluster.settle(20)
        [again] = active(cluster)
        assert indexes.of_pod(again) == 2
        end(cluster, again, "Succeeded")
        await cluster.settle()
        status = cluster.get(JOBS, "j")["status"]
        assert status["completedIndexes"] == "0-3" and status["succeeded"] == 4 and status["failed"] == 1


async def test_failed_indexes_do_not_stop_the_others() -> None:
    spec = {"completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimitPerIndex": 1,
            "backoffLimit": 2**31 - 1}  # fmt: skip
    async with running(JobController, objects=(job(**spec),)) as cluster:
        for _ in range(2):
            for pod in active(cluster):
                end(cluster, pod, "Failed" if indexes.of_pod(pod) == 0 else "Succeeded")
            await cluster.settle(20)
        status = cluster.get(JOBS, "j")["status"]
        assert status["failedIndexes"] == "0" and status["completedIndexes"] == "1"
        assert conditions(cluster) == {"FailureTarget": "FailedIndexes", "Failed": "FailedIndexes"}


async def test_the_failure_policy_fails_ignores_or_counts() -> None:
    rules = [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    async with running(JobController, objects=(job(podFailurePolicy={"rules": rules}, backoffLimit=0),)) as cluster:
        [pod] = active(cluster)
        pod["status"] = {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]}
        cluster.fake.put(pod)
        await cluster.settle(30)
        [second] = active(cluster)
        end(cluster, second, "Failed", 42)
        await cluster.settle()
        failed = meta.condition(cluster.get(JOBS, "j"), "Failed")
        assert failed is not None and failed["reason"] == "PodFailurePolicy"
        assert failed["message"] == (
            f"Container c for pod ns/{meta.name(second)} failed with exit code 42 matching FailJob rule at index 0"
        )


async def test_the_success_policy_ends_the_job_early() -> None:
    spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 3,
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]}}  # fmt: skip
    async with running(JobController, objects=(job(**spec),)) as cluster:
        end(cluster, next(pod for pod in active(cluster) if indexes.of_pod(pod) == 0), "Succeeded")
        await cluster.settle()
        assert active(cluster) == []
        assert conditions(cluster)["Complete"] == "SuccessPolicy"


async def test_pods_of_a_job_that_is_gone_are_let_go() -> None:
    async with running(JobController, objects=(job(),)) as cluster:
        cluster.fake.remove(JOBS, "ns/j")
        await cluster.settle()
        assert all(FINALIZER not in (pod["metadata"].get("finalizers") or ()) for pod in cluster.pods())


async def test_pods_that_their_jobs_deletion_orphans_are_let_go() -> None:
    async with running(JobController, GarbageCollector, objects=(job(parallelism=2, completions=2),)) as cluster:
        await cluster.client.delete(JOBS, "j", "ns", propagationPolicy="Orphan")
        await cluster.settle()
        left = [(pod["metadata"].get("ownerReferences"), pod["metadata"].get("finalizers")) for pod in cluster.pods()]
        assert left == [(None, None)] * 2


@given(st.sets(st.integers(0, 40)))
def test_index_intervals_survive_a_round_trip(found: set[int]) -> None:
    assert indexes.parse(indexes.render(found), completions=41) == found


def test_two_neighbours_are_listed_and_three_are_an_interval() -> None:
    assert indexes.render([1, 3, 4, 5, 7, 8]) == "1,3-5,7,8"
