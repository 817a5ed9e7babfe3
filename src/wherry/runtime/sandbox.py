"""The namespaces of a sandbox, pinned as files: no process holds them unless processes are shared.

Below the sandbox's run directory lie ``ipc`` and ``uts`` (bind-mounted namespaces), ``shm`` (a tmpfs, the containers'
``/dev/shm``), ``hostname`` and, with a shared process namespace, ``pause`` (the OCI bundle of its init). All of this
blocks briefly; call it off the loop.
"""

import os
import shutil
import threading
from collections.abc import Callable, Mapping

from wherry.runtime import userns
from wherry.runtime.protocol import SandboxConfig
from wherry.runtime.spec import SandboxFiles
from wherry.util import linux

_PINNED = {"ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS}


def make(directory: str, config: SandboxConfig) -> None:
    """Make the namespaces and files of a sandbox in `directory`. Raises OSError; `clean` then removes what there is."""
    os.makedirs(directory, mode=0o711, exist_ok=True)
    with open(f"{directory}/hostname", "w") as file:
        file.write(f"{config.hostname}\n")
    os.chmod(f"{directory}/hostname", 0o644)
    if not config.host_ipc:
        os.makedirs(f"{directory}/shm", exist_ok=True)
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("shm", f"{directory}/shm", kind="tmpfs", flags=flags, data=f"mode=1777,size={config.shm_size}")
    _in_thread(lambda: _pin_namespaces(directory, config))


def _in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread of its own, which takes the namespaces that it made with it when it ends."""
    errors: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, name="sandbox")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _pin_namespaces(directory: str, config: SandboxConfig) -> None:
    kinds = [kind for kind in _PINNED if not _on_host(kind, config)]
    for kind in kinds:
        if config.host_id is None:
            linux.unshare(_PINNED[kind])
        else:
            _enter(f"{directory}/{kind}", _PINNED[kind])
    if "uts" in kinds:
        linux.sethostname(config.hostname[:64])
    for kind in kinds if config.host_id is None else ():
        path = f"{directory}/{kind}"
        with open(path, "w"):
            pass
        linux.mount(f"/proc/thread-self/ns/{kind}", path, flags=linux.MS_BIND)
    if config.network_namespace is not None and any(name.startswith("net.") for name in config.sysctls):
        _enter(config.network_namespace, linux.CLONE_NEWNET)
    if config.host_id is not None:
        # The kernel lets nobody but the namespace's own root write them; this thread has done all else.
        linux.act_as(config.host_id)
    _write_sysctls(config.sysctls)


def _enter(path: str, kind: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(descriptor, kind)
    finally:
        os.close(descriptor)


def _on_host(kind: str, config: SandboxConfig) -> bool:
    return config.host_ipc if kind == "ipc" else config.network_namespace is None


def _write_sysctls(sysctls: Mapping[str, str]) -> None:
    for name, value in sysctls.items():
        # A name may be written with slashes, and then a dot belongs to it (net/ipv4/conf/eth0.1/…).
        linux.write_sysctl(name if "/" in name else name.replace(".", "/"), value)


def intact(directory: str, config: SandboxConfig) -> bool:
    """Return whether every namespace that the sandbox pinned is still there."""
    wanted = [f"{directory}/{kind}" for kind in _PINNED if not _on_host(kind, config)]
    if config.network_namespace is not None:
        wanted.append(config.network_namespace)
    if config.host_id is not None:
        wanted.append(f"{directory}/user")
    return all(_is_namespace(path) for path in wanted)


def _is_namespace(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return linux.namespace_kind(descriptor) != 0
    finally:
        os.close(descriptor)


def files(directory: str, config: SandboxConfig, *, pause_pid: int = 0) -> SandboxFiles:
    """Return what the containers of the sandbox join and mount."""
    namespaces = {kind: "" if _on_host(kind, config) else f"{directory}/{kind}" for kind in _PINNED}
    namespaces["network"] = config.network_namespace or ""
    if config.host_pid:
        namespaces["pid"] = ""
    elif pause_pid:
        namespaces["pid"] = f"/proc/{pause_pid}/ns/pid"
    if config.host_id is not None:
        namespaces["user"] = f"{directory}/user"
    shm = "/dev/shm" if config.host_ipc else f"{directory}/shm"
    return SandboxFiles(
        hostname=config.hostname,
        namespaces=namespaces,
        shm=shm,
        hostname_file=f"{directory}/hostname",
        host_id=config.host_id,
    )


def clean(directory: str) -> None:
    """Unpin the namespaces and delete the directory; nothing happens when it is gone."""
    for name in ("shm", *userns.KINDS):
        while linux.unmount_if_mounted(f"{directory}/{name}"):
            pass
    shutil.rmtree(directory, ignore_errors=True)
