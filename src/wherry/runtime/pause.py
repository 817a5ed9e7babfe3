"""The init of a shared process namespace.

A process namespace lasts as long as its init, so a sandbox whose containers share one needs a process that waits and
reaps. It is this small program, written out as a static executable rather than shipped or taken from the host: it runs
in a root of its own with nothing else in it, because containers that share its namespace may look at its ``/proc/1``.

It ignores SIGCHLD, by which the kernel reaps the orphans, and then sleeps for ever.
"""

import os
import platform
import struct
from collections.abc import Mapping

from wherry.runtime.protocol import ContainerError

NAME = "/pause"
_BASE = 0x400000
_HEADERS = 64 + 56
_SIG_IGN = struct.pack("<4Q", 1, 0, 0, 0)  # struct sigaction of the kernel: handler, flags, restorer, mask

_X86_64 = bytes.fromhex(
    "b80d000000"  # mov eax, 13 (rt_sigaction)
    "bf11000000"  # mov edi, 17 (SIGCHLD)
    "488d3513000000"  # lea rsi, [rip + 19] (the structure behind the code)
    "31d2"  # xor edx, edx
    "41ba08000000"  # mov r10d, 8
    "0f05"  # syscall
    "b822000000"  # again: mov eax, 34 (pause)
    "0f05"  # syscall
    "ebf7"  # jmp again
)

_AARCH64 = struct.pack(
    "<14I",
    0xD28010C8,  # mov x8, 134 (rt_sigaction)
    0xD2800220,  # mov x0, 17 (SIGCHLD)
    0x10000181,  # adr x1, +48 (the structure behind the code)
    0xD2800002,  # mov x2, 0
    0xD2800103,  # mov x3, 8
    0xD4000001,  # svc 0
    0xD2800928,  # again: mov x8, 73 (ppoll)
    0xD2800000,  # mov x0, 0
    0xD2800001,  # mov x1, 0
    0xD2800002,  # mov x2, 0
    0xD2800003,  # mov x3, 0
    0xD4000001,  # svc 0
    0x17FFFFFA,  # b again
    0xD503201F,  # nop (aligns the structure)
)

_PROGRAMS = {"x86_64": (62, _X86_64 + _SIG_IGN), "aarch64": (183, _AARCH64 + _SIG_IGN)}


def executable(machine: str) -> bytes:
    """Return the program as an ELF file for a processor as uname(2) names it.

    Raises ContainerError where it is not written for that processor.
    """
    if machine not in _PROGRAMS:
        raise ContainerError(f"a shared process namespace is not supported on {machine}")
    number, code = _PROGRAMS[machine]
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = _HEADERS + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + code


def make_root(directory: str) -> None:
    """Write a root with the program and nothing else to `directory`, unless it is there."""
    if os.path.exists(f"{directory}{NAME}"):
        return
    for name in ("proc", "dev", "sys"):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    temporary = f"{directory}/.pause.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o755)
    with os.fdopen(descriptor, "wb") as file:
        file.write(executable(platform.machine()))
    os.replace(temporary, f"{directory}{NAME}")


def spec(
    root: str, namespaces: list[dict[str, str]], cgroup: str, *, mappings: Mapping[str, object]
) -> dict[str, object]:
    """Return the OCI configuration that runs the program with no rights in `namespaces`; `mappings` are the members
    that describe a user namespace among them."""
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}]
    if mappings:
        # Devices are made as the namespace's root, who may not write to the root's own directory.
        mounts.append({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]})
    return {
        "ociVersion": "1.0.2",
        "root": {"path": root, "readonly": True},
        "process": {
            "args": [NAME],
            "cwd": "/",
            "env": [],
            "user": {"uid": 65535, "gid": 65535},
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, *namespaces],
            "cgroupsPath": cgroup,
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            **mappings,
        },
    }
