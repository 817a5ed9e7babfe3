"""A pod's life, driven in virtual time over a fake runtime."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kubelet.fakes import IMAGE, Node, container
from wherry.api.resources import CONFIGMAPS, PODS
from wherry.client.client import Client
from wherry.kubelet.probes.check import Outcome
from wherry.runtime.protocol import RUNNING, ContainerError, ExecResult, Stats
from wherry.util import clock, virtualtime


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.images.add("registry.test/app:1")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    return made


MISSING = {"configMapKeyRef": {"name": "no", "key": "k"}}


def run(test: Coroutine[Any, Any, None]) -> None:
    virtualtime.run(test)


def running(node: Node, name: str = "web") -> bool:
    return node.condition("Ready", name) == "True"


async def delete(node: Node, name: str = "web", **options: Any) -> None:
    await Client(node.api).delete(PODS, name, "default", options=options or None)


def test_pod_becomes_ready_with_one_status_write(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create()
            await node.until(lambda: running(node))
            status = node.status()
            assert status["phase"] == "Running"
            assert status["podIP"] == "10.1.0.1"
            assert status["containerStatuses"][0]["state"].keys() == {"running"}
            assert len([c for c in node.api.written("patch", PODS) if c.subresource == "status"]) == 1
            await clock.sleep(600)
            assert len([c for c in node.api.written("patch", PODS) if c.subresource == "status"]) == 1

    run(main())


def test_events_tell_the_story_in_kubernetes_words(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create()
            await node.until(lambda: running(node))
            await delete(node)
            await node.until(lambda: node.api.get(PODS, "default/web") is None)
            await clock.sleep(1)
            assert node.messages() == [
                f'Pulled: Container image "{IMAGE}" already present on machine and can be accessed by the pod',
                "Created: Container created",
                "Started: Container started",
                "Killing: Stopping container app",
            ]

    run(main())


def test_deletion_stops_containers_then_removes_everything_then_the_object(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create()
            await node.until(lambda: running(node))
            node.runtime.stop_delay["app"] = 5
            await delete(node)
            await clock.sleep(4)
            assert node.runtime.running("app") is not None
            await node.until(lambda: node.api.get(PODS, "default/web") is None)
            assert not node.runtime.containers and not node.runtime.sandboxes
            assert not node.network.attached and not node.images.mounted
            assert not list((node.root / "state" / "pods").iterdir())
            (call,) = node.api.written("delete", PODS)[1:]
            assert call.body["gracePeriodSeconds"] == 0 and call.body["preconditions"]["uid"]

    run(main())


def test_force_deletion_during_a_long_stop_shortens_it(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create(terminationGracePeriodSeconds=600)
            await node.until(lambda: running(node))
            node.runtime.stop_delay["app"] = 10_000
            await delete(node)
            await clock.sleep(5)
            await delete(node, gracePeriodSeconds=0)
            await node.until(lambda: not node.runtime.containers, within=5)

    run(main())


def test_crashing_container_restarts_with_doubling_back_off(node: Node) -> None:
    async def main() -> None:
        node.runtime.programs["app"] = [(1.0, 1)]
        starts: list[float] = []
        async with node.kubelet():
            node.create()
            for attempt in range(6):
                await node.until(
                    lambda attempt=attempt: any(  # type: ignore[misc]
                        c.labels["io.kubernetes.container.restartCount"] == str(attempt)
                        for c in node.runtime.named("app")
                    ),
                    within=400,
                )
                starts.append(clock.seconds())
            status = node.status()["containerStatuses"][0]
            assert status["restartCount"] >= 4
            assert status["lastState"]["terminated"]["exitCode"] == 1
        gaps = [round(b - a) for a, b in pairwise(starts)]
        assert gaps == [1, 11, 21, 41, 81]

    run(main())


def test_a_timer_that_fires_a_little_early_costs_no_restart(node: Node) -> None:
    async def main() -> None:
        loop, readings = asyncio.get_running_loop(), Counter[float]()

        def steady() -> float:
            now = loop.time()
            readings[now] += 1
            return now + min(0.0002 * readings[now], 0.002) - 0.001

        node.runtime.programs["app"] = [(1.0, 1)]
        async with node.kubelet():
            node.create()
            await node.until(lambda: "start app" in node.runtime.log)
            clock.set_source(lambda: virtualtime.EPOCH + loop.time(), steady)
            await clock.sleep(6000)
        assert node.runtime.log.count("start app") > 20

    run(main())


def test_an_image_that_is_loaded_ends_the_wait_for_a_pull(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create(containers=[container("app", image="registry.test/none:1")])
            await clock.sleep(40)
            assert node.status()["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
            pulls = len(node.images.pulls)
            node.images.add("registry.test/other:1")
            node.images.add("registry.test/none:1")
            asked = clock.monotonic()
            await node.until(lambda: running(node))
            assert clock.monotonic() - asked < 1 and len(node.images.pulls) == pulls

    run(main())


def test_an_image_that_is_loaded_while_its_pull_fails_is_used(node: Node) -> None:
    async def main() -> None:
        node.images.pull_time = 5.0
        async with node.kubelet():
            node.create(containers=[container("app", image="registry.test/none:1")])
            await clock.sleep(1)
            node.images.add("registry.test/none:1")
            asked = clock.monotonic()
            await node.until(lambda: running(node))
            assert clock.monotonic() - asked < 5

    run(main())


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_is_set_delays_neither_restarts_nor_probes(node: Node, jump: float) -> None:
    async def main() -> None:
        node.runtime.programs["app"] = [(1.0, 1)]
        probe = {"exec": {"command": ["ready"]}, "initialDelaySeconds": 1, "periodSeconds": 5}
        async with node.kubelet():
            node.create(containers=[container("app", readinessProbe=probe)])
            await node.until(lambda: len(node.runtime.named("app")) == 2)
            node.runtime.programs["app"] = [(1e6, 0)]
            loop = asyncio.get_running_loop()
            clock.set_source(lambda: virtualtime.EPOCH + jump + loop.time(), loop.time)
            await node.until(lambda: running(node), within=40)
            assert loop.time() < 40

    run(main())


def test_of_the_attempts_that_ended_the_last_stays_with_its_log(node: Node) -> None:
    async def main() -> None:
        node.runtime.programs["app"] = [(0.5, 1)]
        async with node.kubelet():
            node.create(containers=[container("app")])
            await node.until(lambda: bool(node.runtime.configs))
            logs = Path(next(iter(node.runtime.configs.values())).log_path).parent
            logs.mkdir(parents=True)
            for name in ("0.log", "0.log.20260101-000000.gz", "1.log", "2.log", "2.log.20260101-000000"):
                (logs / name).touch()
            await node.until(lambda: node.runtime.log.count("start app") == 4)
            await clock.sleep(0.1)
            assert len(node.runtime.named("app")) == 2
            assert sorted(path.name for path in logs.iterdir()) == ["2.log", "2.log.20260101-000000"]

    run(main())


def test_crash_loop_is_shown_as_waiting(node: Node) -> None:
    async def main() -> None:
        node.runtime.programs["app"] = [(1.0, 3)]
        async with node.kubelet():
            pod = node.create()
            await clock.sleep(5)
            status = node.status()["containerStatuses"][0]
            who = f"web_default({pod['metadata']['uid']})"
            assert status["state"]["waiting"] == {
                "reason": "CrashLoopBackOff",
                "message": f"back-off 10s restarting failed container=app pod={who}",
            }
            assert node.status()["phase"] == "Running"
            assert f"BackOff: Back-off restarting failed container app in pod {who}" in node.messages()

    run(main())


@pytest.mark.parametrize(
    ("policy", "code", "phase", "starts"),
    [("Never", 0, "Succeeded", 1), ("Never", 1, "Failed", 1), ("OnFailure", 0, "Succeeded", 1)],
)
def test_pod_that_ends_keeps_its_object_and_frees_the_rest(
    node: Node, policy: str, code: int, phase: str, starts: int
) -> None:
    async def main() -> None:
        node.runtime.programs["app"] = [(1.0, code)]
        async with node.kubelet():
            node.create(restartPolicy=policy)
            await node.until(lambda: node.status().get("phase") == phase)
            await clock.sleep(100)
            assert node.runtime.log.count("start app") == starts
            assert node.condition("Ready") == "False"
            terminated = node.status()["containerStatuses"][0]["state"]["terminated"]
            assert terminated["exitCode"] == code
            assert not node.network.attached and not node.images.mounted
            assert not any(s.ready for s in node.runtime.sandboxes.values())

    run(main())


def test_init_containers_run_in_order_before_the_others(node: Node) -> None:
    async def main() -> None:
        node.runtime.programs |= {"first": [(2.0, 0)], "second": [(2.0, 0)]}
        async with node.kubelet():
            node.create(initContainers=[container("first"), container("second")])
            await clock.sleep(1)
            assert node.condition("Initialized") == "False"
            assert node.status()["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
            await node.until(lambda: running(node))
            assert [line for line in node.runtime.log if line.startswith("start")] == [
                "start first", "start second", "start app",
            ]  # fmt: skip
            assert node.condition("Initialized") == "True"

    run(main())


def test_failed_init_container_fails_a_pod_that_never_restarts(node: Node) -> None:
    async def main() -> None:
        node.runtime.programs["first"] = [(1.0, 7)]
        async with node.kubelet():
            node.create(restartPolicy="Never", initContainers=[container("first")])
            await node.until(lambda: node.status().get("phase") == "Failed")
            assert "start app" not in node.runtime.log

    run(main())


def test_sidecar_starts_first_and_ends_last(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create(initContainers=[container("proxy", restartPolicy="Always")])
            await node.until(lambda: running(node))
            await delete(node)
            await node.until(lambda: node.api.get(PODS, "default/web") is None)
            order = [line for line in node.runtime.log if line.startswith(("start", "stop"))]
            assert order == ["start proxy", "start app", "stop app", "stop proxy"]

    run(main())


def test_sidecar_does_not_keep_a_finished_pod_alive(node: Node) -> None:
    async def main() -> None:
        node.runtime.programs["app"] = [(1.0, 0)]
        async with node.kubelet():
            node.create(restartPolicy="Never", initContainers=[container("proxy", restartPolicy="Always")])
            await node.until(lambda: node.status().get("phase") == "Succeeded")

    run(main())


def test_sidecar_startup_probe_holds_back_the_others(node: Node) -> None:
    async def main() -> None:
        node.checker.answers["sidecar-up"] = lambda: Outcome(clock.seconds() - virtualtime.EPOCH > 25)
        probe = {"exec": {"command": ["sidecar-up"]}, "periodSeconds": 10, "failureThreshold": 10}
        async with node.kubelet():
            node.create(initContainers=[container("proxy", restartPolicy="Always", startupProbe=probe)])
            await clock.sleep(20)
            assert node.runtime.running("app") is None
            await node.until(lambda: node.runtime.running("app") is not None)

    run(main())


def test_liveness_failure_restarts_the_container(node: Node) -> None:
    async def main() -> None:
        node.checker.answers["alive"] = lambda: Outcome(False, "dead")
        probe = {"exec": {"command": ["alive"]}, "periodSeconds": 5, "failureThreshold": 2}
        async with node.kubelet():
            node.create(containers=[container("app", livenessProbe=probe)])
            await node.until(lambda: len(node.runtime.named("app")) == 2)
            assert "Unhealthy: Liveness probe failed: dead" in node.messages()
            assert "Killing: Container app failed liveness probe, will be restarted" in node.messages()
            await clock.sleep(1)
            assert node.status()["containerStatuses"][0]["restartCount"] == 1

    run(main())


def test_readiness_follows_the_probe_after_its_thresholds(node: Node) -> None:
    async def main() -> None:
        up = True
        node.checker.answers["ready"] = lambda: Outcome(up)
        probe = {"exec": {"command": ["ready"]}, "initialDelaySeconds": 7, "periodSeconds": 5, "failureThreshold": 3}
        async with node.kubelet():
            node.create(containers=[container("app", readinessProbe=probe)])
            await node.until(lambda: node.status().get("phase") == "Running")
            await clock.sleep(6)
            assert not running(node)
            await node.until(lambda: running(node), within=2)
            up = False
            await clock.sleep(9)
            assert running(node)
            await node.until(lambda: not running(node), within=10)
            assert node.runtime.log.count("start app") == 1

    run(main())


def test_readiness_is_probed_while_the_pod_ends(node: Node) -> None:
    async def main() -> None:
        probe = {"exec": {"command": ["ready"]}, "periodSeconds": 1, "failureThreshold": 2}
        node.runtime.stop_delay["app"] = 20
        async with node.kubelet():
            node.create(containers=[container("app", readinessProbe=probe)])
            await node.until(lambda: running(node))
            await delete(node)
            await clock.sleep(5)
            assert node.status()["containerStatuses"][0]["ready"]
            node.checker.answers["ready"] = lambda: Outcome(False)
            await node.until(lambda: not node.status()["containerStatuses"][0]["ready"], within=4)
            assert "running" in node.status()["containerStatuses"][0]["state"]

    run(main())


def test_a_probe_that_warns_says_so_and_succeeds(node: Node) -> None:
    async def main() -> None:
        node.checker.answers["ready"] = lambda: Outcome(True, warning="odd")
        async with node.kubelet():
            node.create(containers=[container("app", readinessProbe={"exec": {"command": ["ready"]}})])
            await node.until(lambda: running(node))
            assert "ProbeWarning: Readiness probe warning: odd" in node.messages()

    run(main())


def test_startup_probe_gates_liveness(node: Node) -> None:
    async def main() -> None:
        node.checker.answers["up"] = lambda: Outcome(clock.seconds() - virtualtime.EPOCH > 30)
        node.checker.answers["alive"] = lambda: Outcome(clock.seconds() - virtualtime.EPOCH > 30)
        app = container(
            "app",
            startupProbe={"exec": {"command": ["up"]}, "periodSeconds": 10, "failureThreshold": 30},
            livenessProbe={"exec": {"command": ["alive"]}, "periodSeconds": 1, "failureThreshold": 1},
        )
        async with node.kubelet():
            node.create(containers=[app])
            await node.until(lambda: running(node))
            assert node.runtime.log.count("start app") == 1
            assert min(at for at, name in node.checker.asked if name == "alive") >= virtualtime.EPOCH + 30

    run(main())


def test_missing_image_is_pulled_and_told_of(node: Node) -> None:
    async def main() -> None:
        node.images.remote["registry.test/big:1"] = node.images.add("registry.test/big:1")
        del node.images.local["registry.test/big:1"]
        node.images.pull_time = 3.0
        async with node.kubelet():
            node.create(containers=[container("app", image="registry.test/big:1")])
            await clock.sleep(1)
            assert node.status()["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
            await node.until(lambda: running(node))
            await clock.sleep(1)
            assert (
                'Pulled: Successfully pulled image "registry.test/big:1" in 3s (3s including waiting). '
                "Image size: 1000 bytes." in node.messages()
            )

    run(main())


def test_failing_pull_backs_off(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create(containers=[container("app", image="registry.test/none:1")])
            await clock.sleep(1)
            waiting = node.status()["containerStatuses"][0]["state"]["waiting"]
            assert waiting == {"reason": "ErrImagePull", "message": "registry.test/none:1: not found"}
            await clock.sleep(4)
            waiting = node.status()["containerStatuses"][0]["state"]["waiting"]
            assert waiting["reason"] == "ImagePullBackOff"
            assert waiting["message"].startswith('Back-off pulling image "registry.test/none:1": ErrImagePull: ')
            await clock.sleep(70)
            assert len(node.images.pulls) == 4  # after 0, 10, 30 and 70 seconds
            assert node.status()["phase"] == "Pending"

    run(main())


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"image": "registry.test/none:1", "imagePullPolicy": "Never"}, "ErrImageNeverPull"),
        ({"image": "BAD"}, "InvalidImageName"),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]},
            "CreateContainerConfigError",
        ),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "no.json"}}},
            "CreateContainerError",
        ),
    ],
)
def test_what_keeps_a_container_from_starting_is_its_waiting_reason(
    node: Node, members: dict[str, Any], reason: str
) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create(containers=[container("app", **members)])
            await clock.sleep(1)
            assert node.status()["containerStatuses"][0]["state"]["waiting"]["reason"] == reason

    run(main())


def test_an_image_volume_is_fetched_for_the_container_that_mounts_it_and_keeps_only_that_one_waiting(
    node: Node,
) -> None:
    async def main() -> None:
        reference = "registry.test/model:1"
        node.images.remote[reference] = node.images.add(reference)
        del node.images.local[reference]
        mounts = [{"name": "model", "mountPath": "/model"}]
        volumes = [{"name": name, "image": {"reference": f"registry.test/{name}:1"}} for name in ("model", "none")]
        with_none = container("none", volumeMounts=[{"name": "none", "mountPath": "/none"}])
        async with node.kubelet():
            node.create(containers=[container("app", volumeMounts=mounts), with_none], volumes=volumes)
            await clock.sleep(1)
            states = {found["name"]: found["state"] for found in node.status()["containerStatuses"]}
            assert "running" in states["app"]
            assert states["none"]["waiting"] == {
                "reason": "ErrImagePull",
                "message": "registry.test/none:1: not found",
            }
            (mount,) = [m for c in node.runtime.configs.values() for m in c.mounts if m.destination == "/model"]
            assert mount.read_only

    run(main())


def test_pod_waits_for_its_config_map_and_starts_when_it_appears(node: Node) -> None:
    async def main() -> None:
        volume = {"name": "conf", "configMap": {"name": "settings", "defaultMode": 420}}
        async with node.kubelet():
            node.create(
                volumes=[volume], containers=[container("app", volumeMounts=[{"name": "conf", "mountPath": "/c"}])]
            )
            await clock.sleep(5)
            text = 'FailedMount: MountVolume.SetUp failed for volume "conf" : configmap "settings" not found'
            assert text in node.messages()
            node.api.put(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"},
                 "data": {"a": "1"}}, CONFIGMAPS,
            )  # fmt: skip
            await node.until(lambda: running(node), within=1)
            uid = node.api.get(PODS, "default/web")["metadata"]["uid"]  # type: ignore[index]
            file = node.root / "state/pods" / uid / "volumes/kubernetes.io~configmap/conf/a"
            assert file.read_text() == "1"
            node.api.put(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"},
                 "data": {"a": "2"}}, CONFIGMAPS,
            )  # fmt: skip
            await node.until(lambda: file.read_text() == "2", within=1)

    run(main())


def test_restarted_kubelet_adopts_what_runs(node: Node) -> None:
    async def main() -> None:
        probe = {"exec": {"command": ["ready"]}, "periodSeconds": 5}
        async with node.kubelet():
            node.create(containers=[container("app", readinessProbe=probe)])
            await node.until(lambda: running(node))
        before = node.runtime.running("app")
        writes = len(node.api.written("patch", PODS))
        async with node.kubelet():
            await clock.sleep(60)
            assert running(node)
            assert node.runtime.running("app") == before
            assert node.runtime.log.count("sandbox") == 1
            assert len(node.api.written("patch", PODS)) == writes
            node.runtime.exit(before.id, 1)  # type: ignore[union-attr]
            await node.until(lambda: (node.runtime.running("app") or before) != before)
            assert node.status()["podIP"] == "10.1.0.1"

    run(main())


def test_restarted_kubelet_goes_on_behind_a_sidecar_that_runs(node: Node) -> None:
    async def main() -> None:
        node.runtime.hang_create.add("app")
        async with node.kubelet():
            node.create(initContainers=[container("proxy", restartPolicy="Always")])
            await clock.sleep(5)
        assert node.runtime.running("proxy") is not None
        node.runtime.hang_create.clear()
        async with node.kubelet():
            await node.until(lambda: running(node))
            assert len(node.runtime.named("proxy")) == 1

    run(main())


@pytest.mark.parametrize(("policy", "starts"), [("Never", 1), ("Always", 5)])
def test_a_container_whose_program_does_not_exist_counts_as_failed(node: Node, policy: str, starts: int) -> None:
    async def main() -> None:
        node.runtime.fail_start["app"] = ContainerError("executable file `/x` not found in $PATH")
        async with node.kubelet():
            node.create(restartPolicy=policy)
            await clock.sleep(100)
            assert node.runtime.log.count("start app") == starts
            assert "Failed: Error: executable file `/x` not found in $PATH" in node.messages()
            status = node.status()["containerStatuses"][0]
            state = status["state"] if policy == "Never" else status["lastState"]
            assert (state["terminated"]["exitCode"], state["terminated"]["reason"]) == (128, "StartError")
            if policy == "Never":
                assert node.status()["phase"] == "Failed"
            else:
                assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
                assert status["restartCount"] == starts - 1

    run(main())


def test_container_made_but_not_started_by_an_earlier_process_is_replaced(node: Node) -> None:
    async def main() -> None:
        node.runtime.fail_create["app"] = ContainerError("not now")
        async with node.kubelet():
            pod = node.create()
            await clock.sleep(1)
        del node.runtime.fail_create["app"]
        (sandbox,) = node.runtime.sandbox_configs.values()
        from wherry.kubelet import labels
        from wherry.runtime.protocol import ContainerConfig

        marks = labels.of_container(
            pod, pod["spec"]["containers"][0], restart_count=0, image="i", image_id="i", user="0:0:"
        )
        await node.runtime.create_container(
            sandbox.id, ContainerConfig(id="old", name="app", rootfs="/", args=["x"], labels=marks)
        )
        async with node.kubelet():
            await node.until(lambda: running(node))
            assert "old" not in node.runtime.containers
            assert node.status()["containerStatuses"][0]["restartCount"] == 0

    run(main())


def test_reboot_recreates_the_sandbox_and_counts_a_restart(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create()
            await node.until(lambda: running(node))
        node.runtime.sandboxes.clear()
        node.runtime.containers.clear()
        await node.network.destroy()
        async with node.kubelet():
            await node.until(lambda: node.runtime.running("app") is not None)
            await clock.sleep(1)
            assert node.status()["containerStatuses"][0]["restartCount"] == 1
            assert node.status()["podIPs"] == [{"ip": "10.1.0.2"}]

    run(main())


def test_pod_that_left_the_api_meanwhile_is_removed(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create()
            await node.until(lambda: running(node))
        logs = node.root / "log" / f"default_web_{node.api.get(PODS, 'default/web')['metadata']['uid']}"
        logs.mkdir(parents=True, exist_ok=True)
        node.api.remove(PODS, "default/web")
        async with node.kubelet() as manager:
            await manager.remove_orphans()
            assert not logs.exists()
            assert not node.runtime.containers and not node.runtime.sandboxes and not node.network.attached
            assert not list((node.root / "state" / "pods").iterdir())

    run(main())


def test_active_deadline_fails_the_pod(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create(activeDeadlineSeconds=20)
            await node.until(lambda: running(node))
            await clock.sleep(21)
            status = node.status()
            assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
            assert node.runtime.running("app") is None

    run(main())


def test_post_start_hook_failure_kills_the_container(node: Node) -> None:
    async def main() -> None:
        node.runtime.exec_results["hook"] = lambda: ExecResult(1, b"", b"no")
        hook = {"postStart": {"exec": {"command": ["hook"]}}}
        async with node.kubelet():
            node.create(containers=[container("app", lifecycle=hook)])
            await clock.sleep(1)
            assert "FailedPostStartHook: PostStartHook failed" in node.messages()
            assert node.runtime.log.count("stop app") == 1
            waiting = node.status()["containerStatuses"][0]["state"]["waiting"]
            assert waiting["reason"] == "PostStartHookError"
            assert "no" in waiting["message"]
            await clock.sleep(2)
            assert node.runtime.log.count("start app") == 2

    run(main())


def test_pre_stop_hook_runs_before_the_signal(node: Node) -> None:
    async def main() -> None:
        hook = {"preStop": {"exec": {"command": ["bye"]}}}
        async with node.kubelet():
            node.create(containers=[container("app", lifecycle=hook)])
            await node.until(lambda: running(node))
            await delete(node)
            await node.until(lambda: node.api.get(PODS, "default/web") is None)
            assert node.runtime.log[-2:] == ["exec bye", "stop app"]

    run(main())


def test_changed_image_restarts_only_that_container(node: Node) -> None:
    async def main() -> None:
        node.images.add("registry.test/app:2")
        async with node.kubelet():
            pod = node.create(containers=[container("app"), container("other")])
            await node.until(lambda: running(node))
            pod["spec"]["containers"][0]["image"] = "registry.test/app:2"
            node.api.put(pod)
            await node.until(lambda: node.runtime.log.count("start app") == 2)
            assert node.runtime.log.count("start other") == 1
            assert "Killing: Container app definition changed, will be restarted" in node.messages()

    run(main())


def test_ephemeral_container_joins_a_running_pod(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            pod = node.create()
            await node.until(lambda: running(node))
            pod["spec"]["ephemeralContainers"] = [container("debug")]
            node.api.put(pod)
            await node.until(lambda: "ephemeralContainerStatuses" in node.status())
            assert node.runtime.running("debug") is not None
            assert all(c.state == RUNNING for c in node.runtime.named("app"))

    run(main())


def test_resized_container_is_updated_in_place(node: Node) -> None:
    async def main() -> None:
        limits = {"limits": {"cpu": "100m"}, "requests": {"cpu": "100m"}}
        async with node.kubelet():
            pod = node.create(containers=[container("app", resources=limits)])
            await node.until(lambda: running(node))
            pod["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "200m"}, "requests": {"cpu": "200m"}}
            node.api.put(pod)
            await node.until(lambda: bool(node.runtime.updated))
            assert node.runtime.updated[0][1].cpu_quota == 20_000
            await clock.sleep(1)
            assert node.status()["containerStatuses"][0]["allocatedResources"] == {"cpu": "200m"}
            amounts = '{"limits":{"cpu":"200m"},"requests":{"cpu":"200m"}}'
            now = f'{{"containers":[{{"name":"app","resources":{amounts}}}],"generation":'
            told = [message.rpartition(":")[0] for message in node.messages() if message.startswith("Resize")]
            assert told == [
                f"Resize{what}: Pod resize {what.lower()}: {now}".removesuffix(":") for what in ("Started", "Completed")
            ]

    run(main())


def test_a_request_for_memory_restarts_the_container_where_its_policy_says_so(node: Node) -> None:
    async def main() -> None:
        policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
        resources = {"requests": {"cpu": "100m", "memory": "1Mi"}}
        async with node.kubelet():
            pod = node.create(containers=[container("app", resources=resources, resizePolicy=policy)])
            await node.until(lambda: running(node))
            pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m", "memory": "2Mi"}}
            node.api.put(pod)
            await node.until(lambda: node.runtime.log.count("start app") == 2)
            await clock.sleep(60)
            assert node.runtime.log.count("start app") == 2
            assert "PodResize" not in str(node.status())

    run(main())


def test_while_a_resize_fails_the_status_shows_the_limits_that_hold(node: Node) -> None:
    async def main() -> None:
        had = {"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
        wanted = {"limits": {"cpu": "200m", "memory": "1Mi"}, "requests": {"cpu": "200m", "memory": "1Mi"}}
        async with node.kubelet():
            pod = node.create(containers=[container("app", resources=had)])
            await node.until(lambda: running(node))
            node.runtime.usage["app"] = Stats(0, 1 << 25, 1 << 25, 1)
            pod["spec"]["containers"][0]["resources"] = wanted
            node.api.put(pod)
            await node.until(lambda: "PodResizeInProgress" in str(node.status()))
            shown = node.status()["containerStatuses"][0]
            assert shown["resources"] == {"limits": had["limits"], "requests": {"cpu": "100m", "memory": "1Mi"}}
            assert shown["allocatedResources"] == wanted["requests"]
            del node.runtime.usage["app"]
            await node.until(lambda: "PodResizeInProgress" not in str(node.status()), within=300)
            assert node.status()["containerStatuses"][0]["resources"] == wanted

    run(main())


def test_two_pods_of_one_name_in_succession_do_not_disturb_each_other(node: Node) -> None:
    async def main() -> None:
        async with node.kubelet():
            node.create()
            await node.until(lambda: running(node))
            node.runtime.stop_delay["app"] = 20
            node.api.remove(PODS, "default/web")
            node.create()
            await node.until(lambda: running(node), within=2)
            await clock.sleep(30)
            assert running(node)
            assert len(node.runtime.named("app")) == 1

    run(main())


def test_a_rule_restarts_all_containers_in_their_sandbox_whatever_the_policy(node: Node) -> None:
    async def main() -> None:
        rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}}
        node.runtime.programs["setup"] = [(0.1, 0)]
        node.runtime.programs["done"] = [(0.5, 0)]
        node.runtime.programs["trigger"] = [(5.0, 88), (1000.0, 0)]
        async with node.kubelet():
            node.create(
                restartPolicy="Never",
                initContainers=[container("setup")],
                containers=[
                    container("app"),
                    container("done"),
                    container("trigger", restartPolicy="Never", restartPolicyRules=[rule]),
                ],
            )
            await node.until(lambda: node.runtime.log.count("start trigger") == 2)
            await node.until(lambda: node.condition("AllContainersRestarting") == "False")
            log = [entry for entry in node.runtime.log if entry.startswith(("sandbox", "start"))]
            first = ["sandbox", "start setup", "start app", "start done", "start trigger"]
            assert log == first + first[1:]
            await node.until(lambda: node.status()["containerStatuses"][2]["restartCount"] == 1)
            status = node.status()
            assert status["phase"] == "Running"
            assert [c["restartCount"] for c in status["containerStatuses"]] == [1, 1, 1]
            ends = [c["lastState"]["terminated"]["exitCode"] for c in status["containerStatuses"]]
            assert ends == [143, 0, 88]

    run(main())
