"""What breaks below or beside the node process, and what must come of it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from dnslib import RCODE, RR, A, DNSRecord

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.world import World, eventually
from tests.e2e.node.disturb import kill, settings, state, up, wait_event
from wherry.runtime import mountns, processes
from wherry.util import linux

_REMAIN = "trap exit TERM; sleep 1d & wait"


def _container(pod: Any, name: str = "c") -> str:
    status = next(s for s in pod["status"]["containerStatuses"] if s["name"] == name)
    return str(status["containerID"]).rpartition("/")[2]


def _conmon(world: World, pod: Any, name: str = "c") -> int:
    bundle = state(world) / "containers/containers" / _container(pod, name)
    return processes.find("conmon", str(bundle))[0]


def _init(world: World, pod: Any) -> int:
    """Return the first process of a pod's container."""
    return processes.children(_conmon(world, pod))[0]


def _is_gone(pid: int) -> bool:
    """Tell whether a process has ended; it may lie about until its new parent looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _restarted(world: World, name: str, times: int = 1, seconds: float = 40) -> Any:
    def again(pod: Any) -> bool:
        statuses = pod["status"].get("containerStatuses") or ()
        return bool(statuses) and all(s["restartCount"] == times and s["ready"] for s in statuses)

    return world.api.wait(f"{world.core}/pods/{name}", again, what=f"{name} restarts", seconds=seconds)


def _last(pod: Any) -> tuple[int, str]:
    ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    return ended["exitCode"], ended["reason"]


def test_a_container_whose_conmon_was_killed_is_ended_and_restarted(world: World) -> None:
    world.pod("conmon", _REMAIN)
    pod = world.ready("conmon")
    init = _init(world, pod)
    os.kill(_conmon(world, pod), signal.SIGKILL)
    assert _last(_restarted(world, "conmon")) == (255, "Unknown")
    assert _is_gone(init)
    wait_event(world, "conmon", "Started", 2)


def test_a_container_whose_first_process_was_killed_restarts(world: World) -> None:
    world.pod("init", _REMAIN)
    os.kill(_init(world, world.ready("init")), signal.SIGKILL)
    assert _last(_restarted(world, "init")) == (137, "Error")
    wait_event(world, "init", "Started", 2)


def test_without_its_pause_a_pod_gets_another_sandbox(world: World) -> None:
    world.pod("pause", _REMAIN, shareProcessNamespace=True)
    pod = world.ready("pause")
    init = _init(world, pod)
    namespace = os.readlink(f"/proc/{init}/ns/pid")
    (pause,) = [pid for pid in processes.find("pause", "") if os.readlink(f"/proc/{pid}/ns/pid") == namespace]
    os.kill(pause, signal.SIGKILL)
    _restarted(world, "pause")
    wait_event(world, "pause", "SandboxChanged")
    assert world.exec("pause", "cat /proc/1/comm").strip() == "pause"


def test_without_the_server_pods_run_on_probes_too_and_statuses_arrive_late(world: World) -> None:
    world.pod("crashing", _REMAIN)
    alive = {"exec": {"command": ["test", "-e", "/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    world.pod("probed", f"touch /alive; {_REMAIN}", container={"livenessProbe": {**alive, "initialDelaySeconds": 1}})
    pods = {name: world.ready(name) for name in ("crashing", "probed")}
    probed = _init(world, pods["probed"])
    kill(world, "server")
    try:
        os.kill(_init(world, pods["crashing"]), signal.SIGKILL)
        os.unlink(f"/proc/{probed}/root/alive")
        eventually(lambda: _is_gone(probed), "the probe kills")
        bundles = state(world) / "containers/containers"
        eventually(lambda: sum(_ran(bundles / path, pods) for path in os.listdir(bundles)) == 4, "both restart")
    finally:
        up(world)
    for name in pods:
        assert _last(_restarted(world, name)) == (137, "Error")
        wait_event(world, name, "Started", 2)


def _ran(bundle: Path, pods: dict[str, Any]) -> bool:
    """Tell whether a container of one of these pods was started."""
    with contextlib.suppress(FileNotFoundError):
        record = (bundle / "record.json").read_text()
        return '"created"' not in record and any(pod["metadata"]["uid"] in record for pod in pods.values())
    return False


def test_static_pods_start_while_the_server_is_away(world: World) -> None:
    manifests = state(world) / "manifests"
    for process in ("node", "server"):
        kill(world, process)
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", _REMAIN]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    metadata = {"name": "alone", "namespace": world.ns}
    manifest = manifests / "alone.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
    bundles = state(world) / "containers/containers"
    command = [sys.executable, "-m", "wherry.cluster.node", "--name", world.cluster.name]
    with Path("/var/log/wherry", world.cluster.name, "node.log").open("ab") as log:
        node = subprocess.Popen(command, cwd="/", stdout=log, stderr=log)
    try:
        eventually(lambda: any(_runs(path, "alone-") for path in bundles.iterdir()), "the pod runs", seconds=30)
        up(world)
        mirror = world.ready("alone-node-a")
        assert mirror["status"]["containerStatuses"][0]["restartCount"] == 0
        manifest.unlink()
        world.api.gone(f"{world.core}/pods/alone-node-a")
    finally:
        manifest.unlink(missing_ok=True)
        node.kill()
        node.wait()
        up(world)


def _runs(bundle: Path, name: str) -> bool:
    """Tell whether a container of the pod whose name begins so runs."""
    return all(_holds(bundle / "record.json", text) for text in (f'"{name}', '"running"'))


class _Resolver:
    """A name server of this machine that hears, and answers when it is told to."""

    def __init__(self, address: str) -> None:
        self.answers = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, address = self._socket.recvfrom(4096)
            if not data:
                return
            if self.answers:
                reply = DNSRecord.parse(data).reply()
                reply.add_answer(RR("example.org", rdata=A("192.0.2.80"), ttl=1))
                self._socket.sendto(reply.pack(), address)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


def test_while_upstream_name_servers_are_silent_the_clusters_names_are_answered_and_others_fail_soon(
    world: World, tmp_path: Path
) -> None:
    service = world.api.get("/api/v1/namespaces/kube-system/services/kube-dns")["spec"]["clusterIP"]

    def ask(name: str) -> DNSRecord:
        return DNSRecord.parse(DNSRecord.question(name).send(service, 53, timeout=8))

    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.99\n" * 3)
    resolver = _Resolver("127.0.0.99")
    try:
        with settings(world, resolvConf=str(tmp_path / "resolv.conf")):
            assert ask("example.org").header.rcode == RCODE.SERVFAIL
            assert ask("kubernetes.default.svc.cluster.local").header.rcode == RCODE.NOERROR
            assert ask("none.default.svc.cluster.local").header.rcode == RCODE.NXDOMAIN
            resolver.answers = True
            assert [str(record.rdata) for record in ask("example.org").rr] == ["192.0.2.80"]
    finally:
        resolver.close()


def test_after_a_reboot_every_pod_starts_again(world: World) -> None:
    world.pod("one", _REMAIN)
    world.pod("never", _REMAIN, restartPolicy="Never")
    pods = [world.ready(name) for name in ("one", "never")]
    conmons = processes.find("conmon", f"--runtime-arg=--root=/run/wherry/{world.cluster.name}/crun")
    assert {_conmon(world, pod) for pod in pods} <= set(conmons)
    for process in ("server", "node"):
        kill(world, process)
    _lose_power(world, conmons)
    up(world)
    assert _last(_restarted(world, "one")) == (255, "Unknown")
    wait_event(world, "one", "SandboxChanged")
    ended = world.api.wait(f"{world.core}/pods/never", lambda pod: pod["status"]["phase"] == "Failed")
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 255


def _lose_power(world: World, conmons: list[int]) -> None:
    """Take away what a reboot takes: every process, what `/run` holds, and the boot that records know of."""
    name = world.cluster.name
    inside = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cgroup") if _holds(path, f"/wherry/{name}/")]
    for pid in (*conmons, *inside):
        processes.kill(pid, processes.start_ticks(pid), patience=5)
    run = Path("/run/wherry", name)
    mountns.destroy(str(run / "mnt/node"))
    linux.unmount_below(str(run))
    shutil.rmtree(run)
    for path in state(world).glob("containers/*/**/*.json"):
        path.write_text(path.read_text().replace(linux.boot_id(), "an-earlier-boot"))


def _holds(path: Path, text: str) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return text in path.read_text()
    return False


@pytest.fixture(autouse=True, scope="module")
def served_again(world: World) -> Any:
    """Whatever a test broke, the cluster serves those that follow."""
    yield
    up(world)
