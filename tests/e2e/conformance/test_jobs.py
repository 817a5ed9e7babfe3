"""Jobs, CronJobs, disruption budgets: work that ends, and pods that may be taken away."""

from typing import Any

import pytest

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.api import Object, Refused
from tests.e2e.conformance.objects import pod_spec, template
from tests.e2e.conformance.world import World

pytestmark = pytest.mark.e2e


def _template(command: str, **spec: Any) -> Object:
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", command]}
    return {"metadata": {}, "spec": pod_spec(containers=[container], restartPolicy="Never") | spec}


def _job(world: World, name: str, command: str, pod: Object | None = None, **spec: Any) -> str:
    path = f"{world.apis('batch/v1')}/jobs"
    body = {"metadata": {"name": name}, "spec": {"template": _template(command, **(pod or {})), **spec}}
    world.api.create(path, body)
    return f"{path}/{name}"


def _conditions(job: Object) -> dict[str, str]:
    return {c["type"]: c.get("reason", "") for c in job["status"].get("conditions", []) if c["status"] == "True"}


def _complete(world: World, path: str, seconds: float = 40) -> Object:
    made: Object = world.api.wait(path, lambda job: "Complete" in _conditions(job), what="complete", seconds=seconds)
    return made


def _failed(world: World, path: str) -> Object:
    made: Object = world.api.wait(path, lambda job: "Failed" in _conditions(job), what="failed")
    return made


def _pods(world: World, job: str) -> list[Object]:
    pods: list[Object] = world.api.get(f"{world.core}/pods", labelSelector=f"batch.kubernetes.io/job-name={job}")[
        "items"
    ]
    return pods


_FAIL_ODD = "exit $((JOB_COMPLETION_INDEX % 2))"


def test_tasks_that_fail_once_are_restarted_where_they_are(world: World) -> None:
    command = "test -e /data/f && exit 0; touch /data/f; exit 1"
    container: Object = {"name": "c", "image": IMAGE, "command": ["sh", "-c", command]}
    container |= {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod = {"restartPolicy": "OnFailure", "volumes": [{"name": "data", "emptyDir": {}}], "containers": [container]}
    path = _job(world, "j", "", pod, completions=3, parallelism=2)
    assert _complete(world, path)["status"]["succeeded"] == 3


def test_indexed_pods_know_their_index(world: World) -> None:
    path = _job(
        world, "j", 'echo "$JOB_COMPLETION_INDEX $(hostname)"', completions=3, parallelism=2, completionMode="Indexed"
    )
    assert _complete(world, path)["status"]["completedIndexes"] == "0-2"
    for pod in _pods(world, "j"):
        index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        assert pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == index
        assert pod["spec"]["hostname"] == f"j-{index}"
        assert world.log(pod["metadata"]["name"]) == f"{index} j-{index}\n"


def test_all_indexes_run_although_some_fail(world: World) -> None:
    options: dict[str, Any] = {
        "completions": 4,
        "parallelism": 4,
        "completionMode": "Indexed",
        "backoffLimitPerIndex": 1,
    }
    status = _failed(world, _job(world, "j", _FAIL_ODD, **options))["status"]
    assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "1,3")
    assert (status["succeeded"], status["failed"]) == (2, 4)


def test_too_many_failed_indexes_end_the_job(world: World) -> None:
    options: dict[str, Any] = {"completions": 10, "parallelism": 10, "completionMode": "Indexed"}
    path = _job(world, "j", "exit 1", backoffLimitPerIndex=0, maxFailedIndexes=4, **options)
    assert _conditions(_failed(world, path))["Failed"] == "MaxFailedIndexesExceeded"


def _policy(action: str, **on: Any) -> Object:
    return {"podFailurePolicy": {"rules": [{"action": action, **on}]}}


_EXIT_42 = {"onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}}


def test_an_exit_code_can_fail_the_job_or_the_index(world: World) -> None:
    path = _job(world, "early", "exit 42", completions=4, parallelism=1, **_policy("FailJob", **_EXIT_42))
    job = _failed(world, path)
    assert _conditions(job)["FailureTarget"] == _conditions(job)["Failed"] == "PodFailurePolicy"
    options: dict[str, Any] = {"completions": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
    path = _job(
        world,
        "index",
        'test "$JOB_COMPLETION_INDEX" = 1 || exit 42',
        parallelism=2,
        **options,
        **_policy("FailIndex", **_EXIT_42),
    )
    status = _failed(world, path)["status"]
    assert (status["failedIndexes"], status["completedIndexes"], status["failed"]) == ("0", "1", 1)


def test_evictions_can_be_ignored(world: World) -> None:
    rule = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    options: dict[str, Any] = {"backoffLimit": 0, "completions": 1} | _policy("Ignore", **rule)
    path = _job(world, "j", "sleep 1d", **options)
    world.api.wait(path, lambda job: job["status"].get("ready") == 1)
    name = _pods(world, "j")[0]["metadata"]["name"]
    world.api.create(
        f"{world.core}/pods/{name}/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}},
    )
    world.api.wait(f"{world.core}/pods", lambda pods: [p for p in pods["items"] if p["metadata"]["name"] != name])
    assert "Failed" not in _conditions(world.api.get(path))


@pytest.mark.parametrize(
    ("rules", "command"),
    [
        (None, "exit 0"),
        ([{"succeededCount": 1}], 'test "$JOB_COMPLETION_INDEX" = 0 || sleep 1d'),
        ([{"succeededIndexes": "0"}], 'test "$JOB_COMPLETION_INDEX" = 0 || sleep 1d'),
    ],
)
def test_success_policies(world: World, rules: list[Object] | None, command: str) -> None:
    policy = {"successPolicy": {"rules": rules or [{"succeededIndexes": "0-1"}]}}
    path = _job(world, "j", command, completions=2, parallelism=2, completionMode="Indexed", **policy)
    job = _complete(world, path)
    assert _conditions(job)["SuccessCriteriaMet"] == _conditions(job)["Complete"] == "SuccessPolicy"


def test_a_job_is_deleted_with_its_pods(world: World) -> None:
    path = _job(world, "j", "sleep 1d", parallelism=2, completions=4)
    world.api.wait(path, lambda job: job["status"].get("active") == 2)
    world.api.delete(path, {"propagationPolicy": "Foreground"})
    world.api.gone(path)
    assert not _pods(world, "j")


def test_a_suspended_job_resumes(world: World) -> None:
    path = _job(world, "j", "exit 0", suspend=True)
    world.api.wait(path, lambda job: "Suspended" in _conditions(job))
    world.api.patch(path, {"spec": {"suspend": False}, "metadata": {"labels": {"a": "b"}}})
    _complete(world, path)


def test_orphans_are_adopted_and_others_released(world: World) -> None:
    path = _job(world, "j", "sleep 1d", parallelism=2, completions=2)
    world.api.wait(path, lambda job: job["status"].get("active") == 2)
    uid = world.api.get(path)["metadata"]["uid"]
    first, second = (f"{world.core}/pods/{pod['metadata']['name']}" for pod in _pods(world, "j"))
    world.api.patch(first, {"metadata": {"ownerReferences": None}})
    world.api.wait(first, lambda pod: [o["uid"] for o in pod["metadata"].get("ownerReferences", [])] == [uid])
    labels = world.api.get(second)["metadata"]["labels"]
    world.api.patch(second, {"metadata": {"labels": dict.fromkeys(labels)}})
    world.api.wait(second, lambda pod: not pod["metadata"].get("ownerReferences"))


def _cronjob(world: World, name: str, **spec: Any) -> str:
    path = f"{world.apis('batch/v1')}/cronjobs"
    job = {"spec": {"template": _template("sleep 1d")}}
    world.api.create(
        path, {"metadata": {"name": name}, "spec": {"schedule": "*/1 * * * ?", "jobTemplate": job, **spec}}
    )
    return f"{path}/{name}"


def test_a_job_made_from_a_cronjob_belongs_to_it(world: World) -> None:
    path = _cronjob(world, "c", suspend=True)
    world.kubectl("create", "job", "manual", "--from=cronjob/c")
    jobs = world.api.get(f"{world.apis('batch/v1')}/jobs")["items"]
    assert jobs[0]["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    world.api.wait(path, lambda found: found["metadata"]["uid"])


def _budget(world: World, name: str, **spec: Any) -> str:
    path = f"{world.apis('policy/v1')}/poddisruptionbudgets"
    world.api.create(path, {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "x"}}, **spec}})
    return f"{path}/{name}"


def _evict(world: World, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    world.api.create(f"{world.core}/pods/{name}/eviction", body)


def test_a_budget_blocks_evictions_until_it_allows_them(world: World) -> None:
    rs = {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template()}
    sets = f"{world.apis('apps/v1')}/replicasets"
    world.api.create(sets, {"metadata": {"name": "w"}, "spec": rs})
    world.api.wait(f"{sets}/w", lambda found: found["status"].get("readyReplicas") == 3)
    path = _budget(world, "b", minAvailable=3)
    world.api.wait(path, lambda found: found["status"].get("currentHealthy") == 3)
    names = [pod["metadata"]["name"] for pod in world.api.get(f"{world.core}/pods")["items"]]
    with pytest.raises(Refused) as blocked:
        _evict(world, names[0])
    assert (blocked.value.code, blocked.value.reason) == (429, "TooManyRequests")
    assert blocked.value.status["details"]["causes"][0]["reason"] == "DisruptionBudget"
    world.api.patch(path, {"spec": {"minAvailable": 2}})
    world.api.wait(path, lambda found: found["status"]["disruptionsAllowed"] == 1)
    _evict(world, names[0])
    world.api.gone(f"{world.core}/pods/{names[0]}")
    world.api.patch(path, {"spec": {"minAvailable": None, "maxUnavailable": "1%"}})
    world.api.wait(path, lambda found: found["status"]["expectedPods"] == 3)
    world.api.delete(path)
    _evict(world, names[1])


def test_a_budgets_status_shows_disruptions(world: World) -> None:
    path = _budget(world, "b", minAvailable="50%")
    for name in ("p1", "p2"):
        world.pod(name, labels={"app": "x"})
    world.ready("p1")
    found = world.api.wait(
        path, lambda found: found["status"].get("expectedPods") == 0 and found["status"]["conditions"]
    )
    assert found["status"]["observedGeneration"] == 1
