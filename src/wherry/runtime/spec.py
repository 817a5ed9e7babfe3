"""The OCI runtime configuration of a container: a pure function of its configuration, its sandbox and the host."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.runtime.cgroups import Cgroups, weight
from wherry.runtime.defaults import ALL_CAPABILITIES, DEFAULT_PATH, DEFAULT_SECCOMP
from wherry.runtime.protocol import IDS, ContainerConfig, Device, Mount, Resources
from wherry.runtime.seccomp import default_profile
from wherry.util import linux

OCI_VERSION = "1.0.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What this machine can do, found once.

    `capabilities` are those that this process may hand on, None for all; `oom_score_floor` is the
    lowest ``oom_score_adj`` that a child of this process may be given, None for any.
    """

    cgroup_v2: bool = True
    swap_limits: bool = True
    oom_score_floor: int | None = None
    seccomp: bool = True
    apparmor: bool = False
    capabilities: frozenset[str] | None = None

    @staticmethod
    def detect(cgroups: Cgroups) -> "Host":
        """Look at this machine and at the rights of this process."""
        floor, held = None, linux.capabilities()
        if not linux.has_capability(linux.CAP_SYS_RESOURCE):
            with open("/proc/self/oom_score_adj") as file:
                floor = int(file.read())
        return Host(
            cgroup_v2=cgroups.v2,
            swap_limits=cgroups.v2 or os.path.exists(f"{cgroups.root}/memory/memory.memsw.limit_in_bytes"),
            oom_score_floor=floor,
            seccomp=os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
            apparmor=os.path.isdir("/sys/kernel/security/apparmor"),
            capabilities=frozenset(name for number, name in enumerate(ALL_CAPABILITIES) if held >> number & 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxFiles:
    """What a sandbox lends its containers. `namespaces` maps an OCI type to the file to join, "" for the host's own."""

    hostname: str = ""

    namespaces: Mapping[str, str] = field(default_factory=dict)
    shm: str = ""
    hostname_file: str = ""
    host_id: int | None = None

    def mappings(self) -> dict[str, list[dict[str, int]]]:
        """Return the OCI members that describe the user namespace, none where the host's is used."""
        if self.host_id is None:
            return {}
        ids = [{"containerID": 0, "hostID": self.host_id, "size": IDS}]
        return {"uidMappings": ids, "gidMappings": ids}


def build(
    config: ContainerConfig, sandbox: SandboxFiles, *, cgroup: str, host: Host, annotations: Mapping[str, str]
) -> dict[str, Any]:
    """Return the contents of ``config.json`` (the OCI runtime specification 1.0) with further `annotations`."""
    linux_part: dict[str, Any] = {
        "cgroupsPath": cgroup,
        "namespaces": _namespaces(sandbox),
        "resources": _all_resources(config, host),
        "rootfsPropagation": _root_propagation(config.mounts),
        **sandbox.mappings(),
    }
    if devices := _devices(config):
        linux_part["devices"] = [_device_node(device) for device in devices]
    if not config.privileged:
        linux_part["maskedPaths"] = list(config.masked_paths)
        linux_part["readonlyPaths"] = list(config.read_only_paths)
        if (profile := seccomp_profile(config, host)) is not None:
            linux_part["seccomp"] = profile
    return {
        "ociVersion": OCI_VERSION,
        "root": {"path": config.rootfs, "readonly": config.read_only_rootfs},
        "process": _process(config, sandbox, host),
        "mounts": _mounts(config, sandbox, host),
        "linux": linux_part,
        "annotations": {"org.opencontainers.image.stopSignal": config.stop_signal, **annotations},
    }


def seccomp_profile(config: ContainerConfig, host: Host) -> Mapping[str, object] | None:
    """Return the profile that a container gets, None for no filter."""
    if config.privileged or config.seccomp is None or not host.seccomp:
        return None
    if config.seccomp == DEFAULT_SECCOMP:
        return default_profile(config.capabilities)
    return config.seccomp


def _namespaces(sandbox: SandboxFiles) -> list[dict[str, str]]:
    own: list[dict[str, str]] = [{"type": "mount"}]
    for kind in ("user", "pid", "network", "ipc", "uts"):
        path = sandbox.namespaces.get(kind, "" if kind == "user" else None)
        if path is None:
            own.append({"type": kind})
        elif path:
            own.append({"type": kind, "path": path})
    return own


def _process(config: ContainerConfig, sandbox: SandboxFiles, host: Host) -> dict[str, Any]:
    capabilities = [name for name in config.capabilities if host.capabilities is None or name in host.capabilities]
    # A user other than root has its capabilities only in reserve, as after setuid(2) and execve(2).
    effective = capabilities if config.uid == 0 else []
    process: dict[str, Any] = {
        "terminal": config.tty,
        "user": {"uid": config.uid, "gid": config.gid, "additionalGids": list(config.additional_gids)},
        "args": list(config.args),
        "env": environment(config.env, hostname=sandbox.hostname, tty=config.tty),
        "cwd": config.cwd or "/",
        "capabilities": {"bounding": capabilities, "effective": effective, "permitted": effective},
        "noNewPrivileges": config.no_new_privileges,
    }
    if config.apparmor_profile and host.apparmor:
        process["apparmorProfile"] = config.apparmor_profile
    score = config.resources.oom_score_adj
    if score is not None:
        process["oomScoreAdj"] = score if host.oom_score_floor is None else max(score, host.oom_score_floor)
    return process


def environment(env: Sequence[tuple[str, str]], *, hostname: str = "", tty: bool = False) -> list[str]:
    """Return ``NAME=value`` strings; the last of several values of a name counts, and a terminal gets a TERM."""
    values = {"PATH": DEFAULT_PATH} | ({"HOSTNAME": hostname} if hostname else {}) | dict(env)
    if tty:
        values.setdefault("TERM", "xterm")
    return [f"{name}={value}" for name, value in values.items()]


def _all_resources(config: ContainerConfig, host: Host) -> dict[str, Any]:
    rules: list[dict[str, Any]]
    if config.privileged:
        rules = [{"allow": True, "access": "rwm"}]
    else:
        rules = [{"allow": False, "access": "rwm"}, *_DEFAULT_DEVICE_RULES]
        for device in _devices(config):
            node = _device_node(device)
            rule = {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"]}
            rules.append(rule | {"access": device.permissions})
    return {"devices": rules} | resources(config.resources, host)


def resources(limits: Resources, host: Host) -> dict[str, Any]:
    """Return the OCI ``linux.resources`` of `limits` without its devices."""
    result: dict[str, Any] = {}
    cpu = {"shares": limits.cpu_shares, "quota": limits.cpu_quota, "period": limits.cpu_period}
    cpu_part: dict[str, Any] = {name: value for name, value in cpu.items() if value is not None}
    if limits.cpuset_cpus:
        cpu_part["cpus"] = limits.cpuset_cpus
    if host.cgroup_v2 and limits.cpu_shares is not None:
        # Given as the unified value: runtimes convert shares by formulas that differ between their versions.
        del cpu_part["shares"]
        result["unified"] = {"cpu.weight": str(weight(limits.cpu_shares))}
    if cpu_part:
        result["cpu"] = cpu_part
    if limits.memory_limit is not None:
        result["memory"] = {"limit": limits.memory_limit}
        if host.swap_limits:
            result["memory"]["swap"] = limits.memory_limit  # memory and swap together: no swap
        if host.cgroup_v2:
            result["unified"] = result.get("unified", {}) | {"memory.oom.group": "1"}
    if limits.pids_limit is not None:
        result["pids"] = {"limit": limits.pids_limit}
    if limits.hugepage_limits:
        result["hugepageLimits"] = [
            {"pageSize": size, "limit": limit} for size, limit in sorted(limits.hugepage_limits.items())
        ]
    return result


_DEFAULT_DEVICE_RULES: tuple[dict[str, Any], ...] = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 1), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
)
"""null, random, full, tty, zero, urandom, console, ptmx and the pseudo-terminals; nodes of others may be made only."""

_OWN_DEVICES = frozenset(
    [
        "console",
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    ]
)


def _devices(config: ContainerConfig) -> list[Device]:
    """Return the configured devices with directories expanded, for a privileged container all of the host's."""
    wanted = list(config.devices)
    if config.privileged:
        wanted = [Device(host_path=f"/dev/{name}", container_path=f"/dev/{name}") for name in _host_devices()] + wanted
    found: dict[str, Device] = {}
    for device in wanted:
        if os.path.isdir(device.host_path):
            for name in sorted(os.listdir(device.host_path)):
                path = f"{device.container_path}/{name}"
                found[path] = Device(
                    host_path=f"{device.host_path}/{name}", container_path=path, permissions=device.permissions
                )
        else:
            found[device.container_path] = device
    return [device for device in found.values() if _is_device(device.host_path) or device in config.devices]


def _host_devices() -> list[str]:
    return sorted(set(os.listdir("/dev")) - _OWN_DEVICES)


def _is_device(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _device_node(device: Device) -> dict[str, Any]:
    node = os.stat(device.host_path)
    return {
        "path": device.container_path,
        "type": "b" if stat.S_ISBLK(node.st_mode) else "c",
        "major": os.major(node.st_rdev),
        "minor": os.minor(node.st_rdev),
        "fileMode": stat.S_IMODE(node.st_mode),
        "uid": node.st_uid,
        "gid": node.st_gid,
    }


def _mounts(config: ContainerConfig, sandbox: SandboxFiles, host: Host) -> list[dict[str, Any]]:
    system = "rw" if config.privileged else "ro"
    mounts = [
        _filesystem("/proc", "proc", "nosuid", "noexec", "nodev"),
        _filesystem("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _filesystem("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        _filesystem("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _filesystem("/sys", "sysfs", "nosuid", "noexec", "nodev", system),
        _filesystem("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", system),
    ]
    own_ids = [] if sandbox.host_id is None else ["idmap"]
    if sandbox.shm:
        mounts.append(_bind(sandbox.shm, "/dev/shm", "nosuid", "noexec", "nodev", *own_ids))
    if sandbox.hostname_file:
        access = "ro" if config.read_only_rootfs else "rw"
        mounts.append(_bind(sandbox.hostname_file, "/etc/hostname", access, *own_ids))
    given = {_clean(mount.destination) for mount in config.mounts}
    kept = [mount for mount in mounts if mount["destination"] not in given]
    # Parents before what lies in them, whatever the order that was asked for.
    own = sorted(config.mounts, key=lambda mount: _clean(mount.destination).count("/"))
    return kept + [_mount(mount, own_ids if mount.mapped else []) for mount in own]


def _clean(destination: str) -> str:
    return os.path.normpath("/" + destination.lstrip("/"))


def _filesystem(destination: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}


def _bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rprivate", *options]}


def _mount(mount: Mount, own_ids: Sequence[str]) -> dict[str, Any]:
    options = list(mount.options)
    if mount.type == "bind":
        propagation = mount.propagation if mount.propagation.startswith("r") else f"r{mount.propagation}"
        options = ["rbind", propagation, *options, *own_ids]
        options.append("rro" if mount.read_only and mount.recursive_read_only else "ro" if mount.read_only else "rw")
    elif mount.read_only:
        options.append("ro")
    return {"destination": _clean(mount.destination), "type": mount.type, "source": mount.source, "options": options}


def _root_propagation(mounts: Sequence[Mount]) -> str:
    """A mount may pass on what happens in it only if the root that it lies in does not stop it."""
    asked = {mount.propagation.removeprefix("r") for mount in mounts}
    return "rshared" if "shared" in asked else "rslave" if "slave" in asked else "rprivate"
