"""The disk of a live node becomes read-only, and full."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import BUSYBOX, DOCKERFILE, IMAGE, Cluster, free_port, wherry
from tests.e2e.conformance.api import Api
from tests.e2e.conformance.world import World, eventually
from tests.e2e.leaks import RUN
from tests.e2e.node.disturb import events, state, wait_event
from wherry.runtime import processes
from wherry.util import linux

_NAME = f"{RUN[:15]}-disk"
_DISKS = ("containers", "images", "pods")
_ENDS = "trap 'echo bye > /dev/termination-log; echo said; exit 7' TERM; while :; do sleep 0.1; done"
_ONCE: dict[str, Any] = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 30}


@pytest.fixture(scope="module")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster whose node has small disks of its own; the session's shows that this machine can have one."""
    directory = tmp_path_factory.mktemp("disk")
    kubeconfig = directory / "kubeconfig"
    root = Path("/var/lib/wherry", _NAME)
    for disk in _DISKS:
        (root / disk).mkdir(parents=True)
        linux.mount("tmpfs", str(root / disk), kind="tmpfs", data="size=64m")
    try:
        ports = (f"--api-port={free_port()}", f"--kubelet-port={free_port()}")
        wherry(kubeconfig, "up", "--name", _NAME, "--node-name=node-a", *ports)
        shutil.copy(BUSYBOX, directory / "busybox")
        (directory / "Dockerfile").write_text(DOCKERFILE)
        wherry(kubeconfig, "image", "build", "--name", _NAME, "-t", IMAGE, str(directory))
        made = World(Api(kubeconfig), Cluster(_NAME, kubeconfig), "default")
        made.api.wait(f"{made.core}/serviceaccounts/default", bool)
        yield made
    finally:
        wherry(kubeconfig, "delete", "--name", _NAME)
        for disk in _DISKS:
            linux.unmount_if_mounted(str(root / disk))
        shutil.rmtree(root, ignore_errors=True)


def _end(world: World, name: str) -> None:
    """Tell the first process of a pod's container to end."""
    (status,) = world.api.get(f"{world.core}/pods/{name}")["status"]["containerStatuses"]
    bundle = state(world) / "containers/containers" / status["containerID"].rpartition("/")[2]
    os.kill(processes.children(processes.find("conmon", str(bundle))[0])[0], signal.SIGTERM)


@contextlib.contextmanager
def _read_only(world: World) -> Iterator[None]:
    disks = [str(state(world) / disk) for disk in ("images", "pods")]
    for disk in disks:
        linux.mount("", disk, flags=linux.MS_REMOUNT | linux.MS_RDONLY)
    try:
        yield
    finally:
        for disk in disks:
            linux.mount("", disk, flags=linux.MS_REMOUNT)


def test_on_a_read_only_disk_pods_run_on_and_end_and_others_wait_until_it_can_be_written(world: World) -> None:
    world.pod("runs")
    world.pod("ends", _ENDS, **_ONCE)
    world.pod("restarts", _ENDS)
    for name in ("runs", "ends", "restarts"):
        world.ready(name)
    with _read_only(world):
        world.pod("waits")
        wait_event(world, "waits", "FailedCreatePodSandBox")
        for name in ("ends", "restarts"):
            _end(world, name)
        ended = world.ended("ends")["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (7, "Error")
        eventually(
            lambda: any("read-only file system" in event["message"] for event in events(world, "restarts")),
            "an event says why the container cannot start",
            seconds=30,
        )
        assert world.exec("runs", "echo lives").strip() == "lives"
        assert world.api.get(f"{world.core}/pods/waits")["status"]["phase"] == "Pending"
    for name in ("waits", "restarts"):
        world.ready(name, seconds=60)
    for name in ("runs", "ends", "restarts", "waits"):
        world.api.delete(f"{world.core}/pods/{name}")
        world.api.gone(f"{world.core}/pods/{name}", seconds=60)


def _fill(path: Path) -> None:
    """Write until the disk is full; it may have been before, and what ended since has made room."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_a_container_that_ends_while_the_disk_is_full_has_its_exit_code_and_what_could_be_kept(world: World) -> None:
    world.pod("plain", _ENDS, **_ONCE)
    world.pod("logged", _ENDS, container={"terminationMessagePolicy": "FallbackToLogsOnError"}, **_ONCE)
    for name in ("plain", "logged"):
        world.ready(name)
    full = [state(world) / disk / "fill" for disk in ("containers", "pods")]
    try:
        for name, message in (("plain", ""), ("logged", "said")):
            for path in full:
                _fill(path)
            _end(world, name)
            ended = world.ended(name)["status"]["containerStatuses"][0]["state"]["terminated"]
            assert (ended["exitCode"], ended["reason"]) == (7, "Error")
            said = ended.get("message", "").splitlines()
            assert message in said if message else not said
    finally:
        for path in full:
            path.unlink(missing_ok=True)
    for name in ("plain", "logged"):
        world.api.delete(f"{world.core}/pods/{name}")
        world.api.gone(f"{world.core}/pods/{name}", seconds=60)
