"""What a machine must have before a cluster can start; each lack is one clear sentence with the remedy."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from wherry.cluster.config import ClusterConfig, ClusterError

_PROGRAMS = {"crun": "crun", "conmon": "conmon", "nft": "nftables"}


def check_root() -> None:
    """Raise ClusterError unless this process is root."""
    if os.geteuid() != 0:
        raise ClusterError("wherry runs containers and needs root: call it with sudo")


def check_machine() -> None:
    """Raise ClusterError when a program or a kernel feature is missing."""
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        names = " ".join(missing)
        raise ClusterError(f"{names} not found: install with 'apt-get install {names}' (script/up does it)")
    if not _filesystem("overlay") and not _load_module("overlay"):
        raise ClusterError("this kernel has no overlayfs: run 'modprobe overlay', or boot a kernel that has it")
    if not Path("/proc/self/ns/net").exists():
        raise ClusterError("this kernel has no network namespaces: boot one with CONFIG_NET_NS")
    if not _cgroups_mounted():
        raise ClusterError("no cgroup filesystem is mounted below /sys/fs/cgroup: mount cgroup2 there")


def check_port(port: int, purpose: str, option: str) -> None:
    """Raise ClusterError when a TCP port of this machine cannot be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            raise ClusterError(
                f"port {port} ({purpose}) is in use by another program: stop it, or choose another with {option}"
            ) from None


def port_is_free(port: int) -> bool:
    """Tell whether a TCP port of this machine can be listened on."""
    try:
        check_port(port, "", "")
    except ClusterError:
        return False
    return True


def check_ports(config: ClusterConfig) -> None:
    """Raise ClusterError when a port of the cluster is taken."""
    check_port(config.api_port, "the API server", "--api-port")
    check_port(config.kubelet_port, "the kubelet", "--kubelet-port")


def node_address(fallback: str) -> str:
    """Return this machine's address on the interface of its default route, `fallback` when it has none."""
    interface = _default_interface()
    if interface is None:
        return fallback
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("256s", interface.encode()[:15])
        get_address = 0x8915  # SIOCGIFADDR
        try:
            return socket.inet_ntoa(fcntl.ioctl(probe, get_address, request)[20:24])
        except OSError:
            return fallback


def _default_interface() -> str | None:
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        name, destination, _, flags, *_ = line.split()
        if destination == "00000000" and int(flags, 16) & 1:
            return name
    return None


def _load_module(name: str) -> bool:
    modprobe = shutil.which("modprobe")
    return modprobe is not None and subprocess.run([modprobe, "-q", name], check=False).returncode == 0


def _filesystem(name: str) -> bool:
    return any(line.split()[-1] == name for line in Path("/proc/filesystems").read_text().splitlines())


def _cgroups_mounted() -> bool:
    fields = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return any(kind in ("cgroup", "cgroup2") for _, _, kind, *_ in fields)
