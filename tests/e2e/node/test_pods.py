"""Pods that live for a while: probes, hooks, restarts, ephemeral containers, resizing, generations, taints, streams."""

import contextlib
import json
import subprocess
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.api import STRATEGIC, Refused
from tests.e2e.conformance.world import World, eventually
from tests.e2e.node.disturb import wait_event

_SLEEP = "trap exit TERM; sleep 1d & wait"


def _restarts(pod: Any) -> int:
    return sum(c["restartCount"] for c in pod["status"].get("containerStatuses") or ())


def _pod(world: World, name: str, wanted: Any, what: str, seconds: float = 40) -> Any:
    return world.api.wait(f"{world.core}/pods/{name}", wanted, what=f"{name}: {what}", seconds=seconds)


@pytest.fixture(scope="module")
def probed(world: World) -> World:
    """One pod for each probe that shall restart, or not restart, its container."""
    quick = {"initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 1}
    serve = "httpd -p 8080 -h /www; "
    pods = {
        "exec-fails": ("touch /h; sleep 3; rm /h; " + _SLEEP, {"exec": {"command": ["cat", "/h"]}}),
        "exec-holds": ("touch /h; " + _SLEEP, {"exec": {"command": ["cat", "/h"]}}),
        "http-fails": (serve + "sleep 3; rm /www/index.html; " + _SLEEP, {"httpGet": {"path": "/", "port": 8080}}),
        "http-holds": (serve + _SLEEP, {"httpGet": {"path": "/index.html", "port": 8080}}),
        "tcp-holds": (serve + _SLEEP, {"tcpSocket": {"port": 8080}}),
        "tcp-fails": (_SLEEP, {"tcpSocket": {"port": 8080}}),
        "exec-slow": (_SLEEP, {"exec": {"command": ["sleep", "10"]}, "timeoutSeconds": 1}),
    }
    for name, (script, probe) in pods.items():
        world.pod(name, script, container={"livenessProbe": {**quick, **probe}})
    world.pod("never-ready", container={"readinessProbe": {**quick, "exec": {"command": ["false"]}}})
    late = {"exec": {"command": ["true"]}, "initialDelaySeconds": 4, "periodSeconds": 1}
    world.pod("late-ready", container={"readinessProbe": late})
    return world


@pytest.mark.parametrize("name", ["exec-fails", "http-fails", "tcp-fails", "exec-slow"])
def test_a_failing_liveness_probe_restarts_the_container(probed: World, name: str) -> None:
    _pod(probed, name, lambda pod: _restarts(pod) >= 1, "restarted")


@pytest.mark.parametrize("name", ["exec-holds", "http-holds", "tcp-holds"])
def test_a_passing_liveness_probe_leaves_it(probed: World, name: str) -> None:
    _pod(probed, "exec-fails", lambda pod: _restarts(pod) >= 1, "restarted")
    assert _restarts(_pod(probed, name, bool, "there")) == 0


def test_readiness_follows_its_probe(probed: World) -> None:
    pod = probed.ready("late-ready")
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")["lastTransitionTime"]
    assert ready > pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    status = probed.api.get(f"{probed.core}/pods/never-ready")["status"]
    assert status["phase"] == "Running"
    assert not status["containerStatuses"][0]["ready"]
    assert status["containerStatuses"][0]["restartCount"] == 0


def test_hooks_run(world: World) -> None:
    world.pod("hooked", container={
        "command": ["sh", "-c", "touch /hooks; trap 'sleep .3; exit' TERM; tail -f /hooks & wait"],
        "lifecycle": {
            "postStart": {"exec": {"command": ["sh", "-c", "echo started >> /hooks"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /hooks; sleep 1"]}},
        },
    }, terminationGracePeriodSeconds=20)  # fmt: skip
    world.ready("hooked")
    with subprocess.Popen(
        ["kubectl", "-n", world.ns, "logs", "-f", "hooked"],
        env=world.cluster.environment, stdout=subprocess.PIPE, text=True,
    ) as follow:  # fmt: skip
        eventually(lambda: "started" in world.log("hooked"), "the postStart hook")
        world.api.delete(f"{world.core}/pods/hooked")
        told, _ = follow.communicate(timeout=20)
    assert told.split() == ["started", "stopping"]
    world.api.gone(f"{world.core}/pods/hooked")


def test_restart_policies(world: World) -> None:
    for policy in ("Always", "OnFailure", "Never"):
        world.pod(f"fails-{policy.lower()}", "exit 1", restartPolicy=policy)
        world.pod(f"ends-{policy.lower()}", "exit 0", restartPolicy=policy)
    for name in ("fails-always", "ends-always", "fails-onfailure"):
        _pod(world, name, lambda pod: _restarts(pod) >= 1, "restarted")
    for name, phase in (("ends-onfailure", "Succeeded"), ("fails-never", "Failed"), ("ends-never", "Succeeded")):
        pod = world.ended(name)
        assert (pod["status"]["phase"], _restarts(pod)) == (phase, 0)


def test_ephemeral_containers_are_added(world: World) -> None:
    world.pod("patient")
    world.ready("patient")
    path = f"{world.core}/pods/patient/ephemeralcontainers"
    doctor = {"name": "doctor", "image": IMAGE, "command": ["sh", "-c", "echo examined; sleep 1d"], "stdin": True}
    world.api.patch(path, {"spec": {"ephemeralContainers": [doctor]}}, STRATEGIC)
    eventually(lambda: "examined" in world.log("patient", container="doctor"), "the ephemeral container's log")
    pod = world.api.get(path)
    pod["spec"]["ephemeralContainers"].append({"name": "nurse", "image": IMAGE, "command": ["true"]})
    world.api.update(path, pod)
    _pod(world, "patient", lambda p: len(p["status"].get("ephemeralContainerStatuses") or ()) == 2, "second one")


def _resources(cpu: str, memory: str, *, limits: bool = True) -> Any:
    amount = {"cpu": cpu, "memory": memory}
    return {"requests": amount, "limits": amount} if limits else {"requests": amount}


def _resized(wanted: Any, index: int = 0) -> Any:
    def check(pod: Any) -> bool:
        conditions = {c["type"] for c in pod["status"].get("conditions") or ()}
        shown = pod["status"]["containerStatuses"][index].get("resources")
        return shown == wanted and not conditions & {"PodResizePending", "PodResizeInProgress"}

    return check


_CPU = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
_MEMORY = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"


def test_resizing_in_place_changes_limits_without_a_restart(world: World) -> None:
    world.pod("grows", container={"resources": _resources("20m", "32Mi")})
    world.ready("grows")
    path = f"{world.core}/pods/grows/resize"
    bigger = _resources("40m", "48Mi")
    world.api.patch(path, {"spec": {"containers": [{"name": "c", "resources": bigger}]}}, STRATEGIC)
    pod = _pod(world, "grows", _resized(bigger), "bigger")
    assert _restarts(pod) == 0
    assert pod["status"]["containerStatuses"][0]["allocatedResources"] == bigger["requests"]
    assert world.exec("grows", _CPU).split()[0] == "4000"
    assert world.exec("grows", _MEMORY).strip() == str(48 << 20)
    pod = world.api.get(path)
    pod["spec"]["containers"][0]["resources"] = smaller = _resources("30m", "40Mi")
    world.api.update(path, pod)
    _pod(world, "grows", _resized(smaller), "smaller")
    assert world.exec("grows", _MEMORY).strip() == str(40 << 20)


def test_resizing_restarts_the_container_where_its_policy_says_so(world: World) -> None:
    policy = [
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ]
    world.pod("restarts", container={"resources": _resources("20m", "32Mi"), "resizePolicy": policy})
    world.ready("restarts")
    path = f"{world.core}/pods/restarts/resize"
    more = _resources("30m", "32Mi")
    world.api.patch(path, {"spec": {"containers": [{"name": "c", "resources": more}]}}, STRATEGIC)
    assert _restarts(_pod(world, "restarts", _resized(more), "more CPU")) == 0
    more = _resources("30m", "40Mi")
    world.api.patch(path, {"spec": {"containers": [{"name": "c", "resources": more}]}}, STRATEGIC)
    _pod(world, "restarts", lambda p: _resized(more)(p) and _restarts(p) == 1, "more memory by a restart")
    for reason in ("ResizeStarted", "ResizeCompleted"):
        wait_event(world, "restarts", reason, 2)
    assert world.exec("restarts", _MEMORY).strip() == str(40 << 20)


def test_a_smaller_limit_by_a_restart_holds_for_the_pod_too(world: World) -> None:
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    world.pod("shrinks", container={"resources": _resources("40m", "32Mi"), "resizePolicy": policy})
    world.ready("shrinks")
    less = _resources("20m", "32Mi")
    change = {"spec": {"containers": [{"name": "c", "resources": less}]}}
    world.api.patch(f"{world.core}/pods/shrinks/resize", change, STRATEGIC)
    _pod(world, "shrinks", lambda p: _resized(less)(p) and _restarts(p) == 1, "less CPU by a restart")
    assert world.exec("shrinks", _CPU).split()[0] == "2000"


def test_a_resize_that_cannot_be_waits_and_says_why(world: World) -> None:
    world.pod("greedy", container={"resources": {"requests": {"cpu": "10m"}}})
    world.ready("greedy")
    path = f"{world.core}/pods/greedy/resize"

    def pending(reason: str) -> Any:
        return lambda pod: any(
            c["type"] == "PodResizePending" and c["reason"] == reason for c in pod["status"]["conditions"]
        )

    def ask(cpu: str) -> None:
        change = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}
        world.api.patch(path, change, STRATEGIC)

    node = world.api.get(f"/api/v1/nodes/{world.api.get(f'{world.core}/pods/greedy')['spec']['nodeName']}")
    world.pod("neighbour", container={"resources": {"requests": {"cpu": "100m"}}})
    world.ready("neighbour")
    with pytest.raises(Refused) as refused:
        ask("1000")
    assert refused.value.status["details"]["causes"] == [{"reason": "NodeCapacity"}]
    ask(node["status"]["allocatable"]["cpu"])
    _pod(world, "greedy", pending("Deferred"), "too much beside the others")
    wait_event(world, "greedy", "ResizeDeferred")
    ask("20m")
    _pod(world, "greedy", _resized({"requests": {"cpu": "20m"}}), "small again")


def test_generations_are_counted_and_observed(world: World) -> None:
    world.pod("counted", terminationGracePeriodSeconds=100)
    path = f"{world.core}/pods/counted"
    assert world.ready("counted")["metadata"]["generation"] == 1
    world.api.patch(path, {"metadata": {"labels": {"a": "b"}}})
    assert world.api.get(path)["metadata"]["generation"] == 1
    for number in range(20):
        world.api.patch(path, {"spec": {"activeDeadlineSeconds": 5000 - number}})
    pod = _pod(world, "counted", lambda p: p["status"].get("observedGeneration") == 21, "observed")
    assert pod["metadata"]["generation"] == 21
    world.api.delete(path)
    with contextlib.suppress(Refused):
        assert world.api.get(path)["metadata"]["generation"] == 22
    world.api.delete(path, {"gracePeriodSeconds": 0})


def test_a_sub_path_that_fails_is_repaired_by_an_annotation(world: World) -> None:
    where = {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['where']"}}}
    container = {
        "name": "c",
        "image": IMAGE,
        "env": [where],
        "volumeMounts": [{"name": "v", "mountPath": "/part", "subPathExpr": "$(WHERE)"}],
    }
    spec = {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}], "terminationGracePeriodSeconds": 0}
    path = f"{world.core}/pods"
    world.api.create(path, {"metadata": {"name": "repaired", "annotations": {"where": "/absolute"}}, "spec": spec})

    def refused(pod: Any) -> bool:
        states = [c["state"].get("waiting") or {} for c in pod["status"].get("containerStatuses") or ()]
        return any(s.get("reason") == "CreateContainerConfigError" for s in states)

    _pod(world, "repaired", refused, "refused")
    world.api.patch(f"{path}/repaired", {"metadata": {"annotations": {"where": "mine"}}})
    world.ready("repaired", seconds=60)


def test_runtime_classes(world: World) -> None:
    api, classes = world.api, "/apis/node.k8s.io/v1/runtimeclasses"
    name = f"{world.ns}-class"
    api.create(classes, {"metadata": {"name": name}, "handler": "runc", "overhead": {"podFixed": {"cpu": "10m"}}})
    try:
        with pytest.raises(Refused) as refused:
            world.pod("no-class", runtimeClassName="missing")
        assert refused.value.code == 403
        made = world.pod("classy", runtimeClassName=name)
        assert made["spec"]["overhead"] == {"cpu": "10m"}
    finally:
        api.delete(f"{classes}/{name}")


def test_an_untolerated_taint_evicts(world: World) -> None:
    world.pod("tolerant", tolerations=[{"key": "e2e", "operator": "Exists", "effect": "NoExecute"}])
    world.pod("patient-a-while", tolerations=[
        {"key": "e2e", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}
    ])  # fmt: skip
    node = world.ready("tolerant")["spec"]["nodeName"]
    world.ready("patient-a-while")
    world.pod("intolerant")
    world.ready("intolerant")
    path = f"/api/v1/nodes/{node}"
    world.api.patch(path, {"spec": {"taints": [{"key": "e2e", "effect": "NoExecute"}]}})
    try:
        world.api.gone(f"{world.core}/pods/intolerant")
        world.api.gone(f"{world.core}/pods/patient-a-while")
        assert world.api.get(f"{world.core}/pods/tolerant")["status"]["phase"] == "Running"
    finally:
        world.api.patch(path, {"spec": {"taints": None}})


def test_the_node_keeps_its_lease(world: World) -> None:
    leases = world.api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")["items"]
    assert leases
    assert leases[0]["spec"]["holderIdentity"] == leases[0]["metadata"]["name"]


def test_top_shows_nodes_and_pods(world: World) -> None:
    world.pod("busy", "while :; do :; done", container={"resources": {"limits": {"cpu": "100m"}}})
    world.ready("busy")

    def shown() -> Any:
        found = world.api.raw("GET", f"/apis/metrics.k8s.io/v1beta1/namespaces/{world.ns}/pods/busy")
        return found.code == 200 and json.loads(found.body)["containers"][0]["usage"]

    usage = eventually(shown, "metrics of a pod", seconds=40)
    assert set(usage) == {"cpu", "memory"}
    assert "busy" in world.kubectl("top", "pods")
    assert "%" in world.cluster.kubectl("top", "nodes")


def test_too_much_in_an_empty_dir_or_the_root_evicts(world: World) -> None:
    fill = "dd if=/dev/zero of={}/f bs=1M count=4; sleep 1d"
    volume = {"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    world.pod("fills-volume", fill.format("/v"), container=mounts, volumes=[volume])
    limited = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    world.pod("fills-root", fill.format("/tmp"), container=limited)
    expected = {
        "fills-volume": 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
        "fills-root": 'Container c exceeded its local ephemeral storage limit "1Mi". ',
    }
    for name, message in expected.items():
        status = world.ended(name, seconds=45)["status"]
        assert (status["phase"], status["reason"], status["message"]) == ("Failed", "Evicted", message)
        reasons = {c["type"]: c.get("reason") for c in status["conditions"]}
        assert reasons["DisruptionTarget"] == "TerminationByKubelet"
