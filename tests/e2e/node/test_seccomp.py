"""What the seccomp profiles of containers let through: every container asks the kernel and says what it answered."""

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conformance.world import World
from tests.e2e.node.disturb import state

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are those of x86_64")

_CALLS = {
    "unshare": (272, 0x10000000),
    "mount": (165, 0, 0, 0, 0, 0),
    "setns": (308, -1, 0),
    "keyctl": (250, 0, -3, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "io_uring_setup": (425, 1, 0),
    "userfaultfd": (323, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0),
    "kcmp": (312, 0, 0, 0, 0, 0),
    "clone3": (435, 0, 0),
    "vsock": (41, 40, 1, 0),
    "no random addresses": (135, 0x0040000),
    "socket": (41, 1, 1, 0),
    "persona": (135, 0xFFFFFFFF),
    "ptrace": (101, 0, 0, 0, 0),
    "process_vm_readv": (310, 0, 0, 0, 0, 0, 0),
    "chroot": (161, 0),
    "syslog": (103, 10, 0, 0),
    "clock_settime": (227, 0, 0),
}
_SOURCE = f"""
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
said = {{}}
for name, (number, *arguments) in {_CALLS!r}.items():
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    said[name] = ctypes.get_errno() if result < 0 else 0
print(json.dumps(said))
"""
_EPERM, _ENOSYS, _EFAULT = 1, 38, 14
_FORBIDDEN = {
    *("unshare", "mount", "setns", "keyctl", "add_key", "bpf", "perf_event_open", "io_uring_setup", "userfaultfd"),
    *("kexec_load", "open_by_handle_at", "kcmp", "vsock", "no random addresses", "syslog", "clock_settime"),
}


def _answers(world: World, name: str, profile: dict[str, Any] | None, *capabilities: str) -> dict[str, int]:
    """Return what the kernel answered to each call in a container with this profile."""
    context: dict[str, Any] = {"capabilities": {"add": list(capabilities)}}
    if profile is not None:
        context["seccompProfile"] = profile
    world.python(name, _SOURCE, container={"securityContext": context}, restartPolicy="Never")
    assert world.ended(name)["status"]["phase"] == "Succeeded", world.log(name)
    return dict(json.loads(world.log(name)))


def test_the_default_profile_forbids_what_docker_and_containerd_forbid_and_no_more(world: World) -> None:
    said = _answers(world, "default", {"type": "RuntimeDefault"})
    assert {name for name, code in said.items() if code == _EPERM} == _FORBIDDEN
    assert said["clone3"] == _ENOSYS, "libc must fall back to clone"
    assert said["chroot"] == _EFAULT, "it reached the kernel: the container may have CAP_SYS_CHROOT"
    assert (said["socket"], said["persona"], said["ptrace"]) == (0, 0, 0)


def test_a_capability_opens_the_calls_that_belong_to_it(world: World) -> None:
    said = _answers(
        world, "admin", {"type": "RuntimeDefault"}, "SYS_ADMIN", "DAC_READ_SEARCH", "SYS_PTRACE", "SYS_TIME"
    )
    still = {name for name, code in said.items() if code == _EPERM}
    opened = {"mount", "setns", "bpf", "open_by_handle_at", "kcmp", "unshare"}
    assert not opened & still
    assert {"keyctl", "add_key", "io_uring_setup", "userfaultfd", "kexec_load", "vsock"} <= still
    assert said["clone3"] != _ENOSYS


def test_without_a_profile_nothing_is_filtered(world: World) -> None:
    for name, profile in {"unset": None, "unconfined": {"type": "Unconfined"}}.items():
        said = _answers(world, name, profile)
        assert said["clone3"] != _ENOSYS
        assert _EPERM not in (said["vsock"], said["no random addresses"])
    world.pod("mode", "grep ^Seccomp: /proc/self/status", restartPolicy="Never")
    world.ended("mode")
    assert world.log("mode").split() == ["Seccomp:", "0"]


@pytest.fixture
def profiles(world: World) -> Path:
    """The directory of the profiles that pods can name."""
    directory = state(world) / "seccomp"
    (directory / "deep").mkdir(parents=True, exist_ok=True)
    return directory


def test_a_profile_of_this_machine_is_followed_and_one_outside_of_its_directory_is_not(
    world: World, profiles: Path
) -> None:
    forbid = {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}
    (profiles / "deep" / "own.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [forbid]}))
    said = _answers(world, "own", {"type": "Localhost", "localhostProfile": "deep/own.json"})
    assert (said["socket"], said["vsock"], said["persona"]) == (99, 99, 0)
    (profiles / "broken.json").write_text("{")
    for name, words in {"broken": "decoding seccomp profile failed", "away": "it lies outside"}.items():
        (profiles / "away.json").unlink(missing_ok=True)
        (profiles / "away.json").symlink_to("/etc/hostname")
        context = {"seccompProfile": {"type": "Localhost", "localhostProfile": f"{name}.json"}}
        world.pod(name, container={"securityContext": context})

        def waits(pod: Any, words: str = words) -> bool:
            statuses = pod["status"].get("containerStatuses") or [{"state": {}}]
            waiting = statuses[0]["state"].get("waiting") or {}
            return waiting.get("reason") == "CreateContainerError" and words in waiting["message"]

        world.api.wait(f"{world.core}/pods/{name}", waits, what=f"{name} waits")
