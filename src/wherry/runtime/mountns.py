"""A mount namespace for the node process that outlives it, kept as a bind-mounted file.

Every host gets one, whatever its cgroup mode: container roots, volumes and pinned namespaces stay out of the host's
mount table, and one call removes them all. On a hybrid cgroup host the namespace has no v2 part, because crun refuses
to run where it sees both. Mounts that the host makes later arrive (slave propagation), the namespace's own do not leave
it, and inside it they propagate to containers that ask for it (shared).

The file holds the namespace's name (``mnt:[…]``) beneath the bind mount. Inside the namespace, which was made before
the mount and does not see it, that is what is read: a process finds out that it is there already.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from wherry.util import linux

CGROUP_V2_PART = "/sys/fs/cgroup/unified"


def enter(path: str) -> None:
    """Move this process into the mount namespace kept at `path`, making it where there is none.

    Call it before any thread is started: the kernel refuses it to a process with several. The working directory is
    found again by its name. Raises OSError.
    """
    directory = os.getcwd()
    with _locked(path):
        if _inside(path):
            return
        if not _open_and_join(path):
            _make(path)
            if not _open_and_join(path):
                raise OSError(f"{path} does not hold a mount namespace")
    with contextlib.suppress(OSError):
        os.chdir(directory)


def destroy(path: str) -> None:
    """Let go of the mount namespace kept at `path`; its mounts go with the last process in it.

    Call it from outside. Nothing happens when there is none.
    """
    while linux.unmount_if_mounted(path):
        pass
    for name in (path, f"{path}.lock"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    while linux.unmount_if_mounted(os.path.dirname(path)):
        pass


def exists(path: str) -> bool:
    """Return whether `path` holds a mount namespace as seen from here, or is the one of this process."""
    return _inside(path) or _kind(path) == linux.CLONE_NEWNS


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _inside(path: str) -> bool:
    try:
        with open(path) as file:
            return file.read() == os.readlink("/proc/self/ns/mnt")
    except OSError:  # missing, or a namespace, which cannot be read
        return False


def _kind(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return linux.namespace_kind(descriptor)
    finally:
        os.close(descriptor)


def _open_and_join(path: str) -> bool:
    if _kind(path) != linux.CLONE_NEWNS:
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(descriptor, linux.CLONE_NEWNS)
    finally:
        os.close(descriptor)
    return True


def _make(path: str) -> None:
    """Have a child make the namespace and bind it at `path` while the child lives."""
    directory = os.path.dirname(path)
    if not linux.is_mount(directory):
        # A namespace cannot be bound where the mount would propagate into the namespace itself.
        linux.mount(directory, directory, flags=linux.MS_BIND)
    linux.mount("", directory, flags=linux.MS_PRIVATE)
    child_reads, parent_writes = os.pipe()
    parent_reads, child_writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(parent_reads)
        os.close(parent_writes)
        _hold_new_namespace(child_writes, child_reads)
    os.close(child_reads)
    os.close(child_writes)
    try:
        with os.fdopen(parent_reads) as answer:
            name = answer.read()
        if not name.startswith("mnt:"):
            raise OSError(f"cannot make a mount namespace: {name}")
        with open(path, "w") as file:
            file.write(name)
        linux.mount(f"/proc/{child}/ns/mnt", path, flags=linux.MS_BIND)
    finally:
        os.close(parent_writes)
        os.waitpid(child, 0)


def _hold_new_namespace(answer: int, until_closed: int) -> None:
    """In the child: move into a new namespace, say its name (or an error), wait, and end without any clean-up."""
    try:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_SLAVE)
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_SHARED)
        if linux.is_mount(CGROUP_V2_PART):
            linux.umount(CGROUP_V2_PART, linux.MNT_DETACH)
            # crun writes files to the empty directory; in a filesystem of the namespace they do not stay behind.
            linux.mount("tmpfs", CGROUP_V2_PART, kind="tmpfs", data="mode=755,size=1m")
        os.write(answer, os.readlink("/proc/self/ns/mnt").encode())
    except OSError as error:
        os.write(answer, str(error).encode())
    finally:
        os.close(answer)
        os.read(until_closed, 1)
        os._exit(0)
