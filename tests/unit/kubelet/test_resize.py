"""When a resize restarts a container, and what a status says was granted."""

from wherry.kubelet.resize import granted, needs_restart, with_resources


def test_a_container_restarts_only_for_the_resource_whose_policy_says_so() -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    before = {"requests": {"cpu": "1", "memory": "1Mi"}}
    more_cpu = {"requests": {"cpu": "2", "memory": "1Mi"}}
    more_memory = {"requests": {"cpu": "1", "memory": "2Mi"}}
    assert not needs_restart({"resizePolicy": policy, "resources": more_cpu}, before)
    assert needs_restart({"resizePolicy": policy, "resources": more_memory}, before)
    assert not needs_restart({"resources": more_memory}, before)
    assert not needs_restart({"resizePolicy": policy, "resources": {"requests": {"memory": "1024Ki"}}}, before)


def test_what_was_granted_stands_in_for_what_is_asked() -> None:
    had = {"requests": {"cpu": "1"}}
    pod = {
        "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "9"}}}, {"name": "b"}]},
        "status": {"containerStatuses": [{"name": "a", "allocatedResources": {"cpu": "1"}, "resources": had}]},
    }
    assert granted(pod) == {"a": had}
    shown = with_resources(pod, granted(pod))["spec"]["containers"]
    assert [c["resources"] for c in shown] == [had, {}]
