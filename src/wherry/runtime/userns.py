"""User namespaces of sandboxes: a range of the host's ids that a pod's processes run as.

A process with threads cannot make one, so a child does, which this process gives its ids; what the child made is pinned
by files and outlives it. All of this blocks briefly; call it off the loop.
"""

import os
import platform
import subprocess

from wherry.runtime.protocol import IDS
from wherry.util import linux

KINDS = ("user", "ipc", "uts", "net")
"""What is made together, so that the other namespaces belong to the user namespace."""

_LEAST_KERNEL = (6, 3)  # the first in which tmpfs too can be mounted with other ids


def supported() -> bool:
    """Return whether this machine can run pods in user namespaces, with volumes that show them their own ids."""
    numbers = platform.release().split("-")[0].split(".")
    try:
        version = (int(numbers[0]), int(numbers[1]))
        with open("/proc/sys/user/max_user_namespaces") as file:
            return version >= _LEAST_KERNEL and int(file.read()) > 0
    except (OSError, ValueError, IndexError):
        return False


def make(directory: str, host_id: int) -> None:
    """Pin new namespaces at ``directory/KIND`` in which ids from 0 are the host's from `host_id`.

    Nothing happens when they are there. Raises OSError.
    """
    if linux.is_mount(f"{directory}/{KINDS[-1]}"):
        return
    os.makedirs(directory, mode=0o711, exist_ok=True)
    command = ["unshare", "--user", "--ipc", "--uts", "--net", "sh", "-c", "echo; read -r line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        try:
            if not child.stdout.readline():
                raise OSError(f"cannot make a user namespace: {child.stderr.read().decode().strip()}")
            for kind in ("uid_map", "gid_map"):
                with open(f"/proc/{child.pid}/{kind}", "w") as file:
                    file.write(f"0 {host_id} {IDS}")
            for kind in KINDS:
                path = f"{directory}/{kind}"
                with open(path, "w"):
                    pass
                linux.mount(f"/proc/{child.pid}/ns/{kind}", path, flags=linux.MS_BIND)
        finally:
            child.kill()
