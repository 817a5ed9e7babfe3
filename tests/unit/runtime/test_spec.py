"""The OCI configuration of a container."""

from typing import Any

import pytest

from wherry.runtime.cgroups import weight
from wherry.runtime.containers import signal_number
from wherry.runtime.defaults import DEFAULT_CAPABILITIES, DEFAULT_SECCOMP
from wherry.runtime.pause import executable
from wherry.runtime.protocol import ContainerConfig, ContainerError, Mount, Resources
from wherry.runtime.seccomp import default_profile
from wherry.runtime.spec import Host, SandboxFiles, build

V1 = Host(cgroup_v2=False, swap_limits=False)
SANDBOX = SandboxFiles(
    hostname="pod",
    namespaces={"ipc": "/run/ipc", "uts": "/run/uts", "network": "/run/net"},
    shm="/run/shm",
    hostname_file="/run/hostname",
)


def _build(host: Host = V1, sandbox: SandboxFiles = SANDBOX, **options: Any) -> dict[str, Any]:
    config = ContainerConfig(**({"id": "c", "name": "c", "rootfs": "/root", "args": ["sh"]} | options))
    return build(config, sandbox, cgroup="/w/c", host=host, annotations={})


def _allowed(profile: Any) -> set[str]:
    rules = [rule for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule]
    return {name for rule in rules for name in rule["names"]}


def test_namespaces_are_joined_made_or_left_to_the_host() -> None:
    made = _build()["linux"]["namespaces"]
    assert made == [
        {"type": "mount"},
        {"type": "pid"},
        {"type": "network", "path": "/run/net"},
        {"type": "ipc", "path": "/run/ipc"},
        {"type": "uts", "path": "/run/uts"},
    ]
    host = SandboxFiles(namespaces={"pid": "", "network": "", "ipc": "", "uts": ""})
    assert _build(sandbox=host)["linux"]["namespaces"] == [{"type": "mount"}]


def test_only_root_has_its_capabilities_in_effect() -> None:
    assert _build(capabilities=["CAP_CHOWN"])["process"]["capabilities"]["effective"] == ["CAP_CHOWN"]
    mine = _build(capabilities=["CAP_CHOWN"], uid=5)["process"]["capabilities"]
    assert mine == {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}


def test_a_given_mount_takes_the_place_of_a_default_one_and_parents_come_first() -> None:
    mounts = [
        Mount(source="/b", destination="/data/sub/"),
        Mount(source="/a", destination="/data", read_only=True, recursive_read_only=True, propagation="rslave"),
        Mount(source="/etc/h", destination="/etc/hostname"),
        Mount(source="tmpfs", destination="/dev/shm", type="tmpfs"),
    ]
    described = _build(mounts=mounts)
    found = [(mount["destination"], mount["source"]) for mount in described["mounts"]]
    assert found[-4:] == [("/data", "/a"), ("/data/sub", "/b"), ("/etc/hostname", "/etc/h"), ("/dev/shm", "tmpfs")]
    assert len({destination for destination, _ in found}) == len(found)
    data = next(mount for mount in described["mounts"] if mount["destination"] == "/data")
    assert data["options"] == ["rbind", "rslave", "rro"]
    assert described["linux"]["rootfsPropagation"] == "rslave"


def test_resources_by_cgroup_version() -> None:
    limits = Resources(cpu_shares=1024, cpu_quota=50_000, cpu_period=100_000, memory_limit=1 << 20, pids_limit=9)
    one = _build(resources=limits)["linux"]["resources"]
    assert one["cpu"] == {"shares": 1024, "quota": 50_000, "period": 100_000}
    assert one["memory"] == {"limit": 1 << 20} and one["pids"] == {"limit": 9}
    two = _build(Host(), resources=limits)["linux"]["resources"]
    assert two["unified"] == {"cpu.weight": "39", "memory.oom.group": "1"}
    assert two["memory"] == {"limit": 1 << 20, "swap": 1 << 20}


def test_oom_score_is_not_set_lower_than_this_process_may() -> None:
    limits = Resources(oom_score_adj=-997)
    assert _build(resources=limits)["process"]["oomScoreAdj"] == -997
    assert _build(Host(oom_score_floor=0), resources=limits)["process"]["oomScoreAdj"] == 0


def test_the_default_seccomp_profile_follows_the_capabilities() -> None:
    assert {"mount", "unshare", "bpf", "keyctl", "clone3"}.isdisjoint(_allowed(DEFAULT_SECCOMP))
    assert {"read", "execve", "chroot", "ptrace"} <= _allowed(DEFAULT_SECCOMP)
    with_admin = _build(seccomp=DEFAULT_SECCOMP, capabilities=("CAP_SYS_ADMIN",))["linux"]["seccomp"]
    assert {"mount", "clone", "clone3"} <= _allowed(with_admin) and "chroot" not in _allowed(with_admin)
    assert default_profile(DEFAULT_CAPABILITIES) == DEFAULT_SECCOMP


def test_privileged_has_neither_filter_nor_masks() -> None:
    described = _build(privileged=True, seccomp=DEFAULT_SECCOMP, masked_paths=["/proc/kcore"])
    assert "seccomp" not in described["linux"] and "maskedPaths" not in described["linux"]
    assert described["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_the_environment_has_a_path_a_host_name_and_a_terminal() -> None:
    env = _build(env=[("A", "1"), ("A", "2"), ("PATH", "/x")], tty=True)["process"]["env"]
    assert env == ["PATH=/x", "HOSTNAME=pod", "A=2", "TERM=xterm"]


@pytest.mark.parametrize(("shares", "expected"), [(2, 1), (1024, 39), (262_144, 10_000), (0, 1), (10**9, 10_000)])
def test_cpu_shares_become_a_weight(shares: int, expected: int) -> None:
    assert weight(shares) == expected


@pytest.mark.parametrize(("name", "number"), [("SIGTERM", 15), ("QUIT", 3), ("9", 9), ("SIGRTMIN+3", 37), ("huh", 15)])
def test_stop_signals(name: str, number: int) -> None:
    assert signal_number(name) == number


def test_the_init_of_a_shared_process_namespace_is_an_executable_or_refused() -> None:
    assert executable("x86_64")[:4] == executable("aarch64")[:4] == b"\x7fELF"
    with pytest.raises(ContainerError, match="not supported on vax"):
        executable("vax")
