"""The system calls that Python 3.11 does not offer: mounts and namespaces. Each raises OSError."""

import ctypes
import errno
import fcntl
import os
import platform
import struct

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_MOVE, MS_REC = 4096, 8192, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 18, 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

CLONE_FS = 0x200
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 21, 24

_NS_GET_NSTYPE = 0xB703
_SYS_OPENAT2 = 437
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _AT_EMPTY_PATH, _MOUNT_ATTR_IDMAP = 1, 4, 0x1000, 0x100000
_SYS_SETRESUID = {"x86_64": 117, "aarch64": 147}
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10

_TMPFS_MAGIC = 0x01021994
_SYNC_FILE_RANGE_WRITE = 2

_AT_FDCWD, _AT_SYMLINK_NOFOLLOW = -100, 0x100
_STATX_SIZE, _STATX_ATTR_MOUNT_ROOT = 256, 0x2000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def _check(result: int, subject: str = "") -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject or None)


def mount(source: str, target: str, *, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    """Call mount(2); `kind` is the filesystem type, `data` its options (at most a page)."""
    encoded = kind.encode() if kind else None
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), encoded, flags, data.encode() or None), target)


def write_sysctl(path: str, value: str) -> None:
    """Write a setting of the kernel, named as a path (``net/ipv4/ip_forward``). Raises OSError that says which."""
    try:
        with open(f"/proc/sys/{path}", "w") as file:
            file.write(value)
    except OSError as error:
        why = os.strerror(error.errno or errno.EIO).lower()
        raise OSError(f"write sysctl {path.replace('/', '.')}={value}: {why}") from error


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def bind_mapped(source: str, target: str, user_namespace: int) -> None:
    """Bind `source` at `target` with the ids of its files mapped by the user namespace of a descriptor.

    open_tree(2), mount_setattr(2), move_mount(2). Raises OSError, also where the filesystem cannot do it.
    """
    clone = _OPEN_TREE_CLONE | os.O_CLOEXEC
    tree = _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), clone)
    _check(tree, source)
    try:
        wanted = _MountAttributes(_MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
        size = ctypes.sizeof(wanted)
        _check(_libc.syscall(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(wanted), size), source)
        moved = _libc.syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        _check(moved, target)
    finally:
        os.close(tree)


def umount(target: str, flags: int = 0) -> None:
    """Call umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def unmount_if_mounted(target: str) -> bool:
    """Detach the topmost mount at `target`; return whether there was one."""
    try:
        umount(target, MNT_DETACH | UMOUNT_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == 22:  # EINVAL: not a mount point
            return False
        raise
    return True


def mounts_below(path: str) -> list[str]:
    """Return the mount points at `path` and below it, the last mounted first."""
    with open("/proc/self/mountinfo") as file:
        points = [_unescape(line.split(" ", 5)[4]) for line in file]
    return [point for point in reversed(points) if point == path or point.startswith(f"{path.rstrip('/')}/")]


def is_mount(path: str) -> bool:
    """Return whether something is mounted at `path`, also a directory on itself (os.path.ismount misses that)."""
    status = ctypes.create_string_buffer(_STATX_SIZE)
    if _libc.statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, 0, status) != 0:
        return False
    attributes, known = struct.unpack_from("=Q", status, 8)[0], struct.unpack_from("=Q", status, 56)[0]
    if known & _STATX_ATTR_MOUNT_ROOT:
        return bool(attributes & _STATX_ATTR_MOUNT_ROOT)
    return path in mounts_below(path)  # a kernel before 5.8


def is_in_memory(path: str) -> bool:
    """Return whether the filesystem of `path` is a tmpfs. Raises OSError."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statfs(os.fsencode(path), buffer), path)
    return bool(struct.unpack_from("=l", buffer)[0] & 0xFFFFFFFF == _TMPFS_MAGIC)


def unmount_below(path: str) -> None:
    """Detach everything that is mounted at `path` and below it."""
    for point in mounts_below(path):
        unmount_if_mounted(point)


def _unescape(field: str) -> str:
    for character in " \t\n\\":
        field = field.replace(f"\\{ord(character):03o}", character)
    return field


def sync_filesystem(path: str) -> None:
    """Return when everything written to the filesystem of `path` is on its disk (syncfs(2)). Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(_libc.syncfs(descriptor), path)
    finally:
        os.close(descriptor)


def begin_writeback(descriptor: int) -> None:
    """Have the kernel begin to write a file to its disk, without waiting for it (sync_file_range(2)).

    It is but a hint: where the filesystem does not know it, nothing happens.
    """
    _libc.sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


def sync_directory(path: str) -> None:
    """Return when the names in a directory are on its disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own (CLONE_NEW…)."""
    _check(_libc.unshare(flags))


def setns(descriptor: int, kind: int = 0) -> None:
    """Move the calling thread into the namespace that `descriptor` refers to."""
    _check(_libc.setns(descriptor, kind))


def act_as(user: int) -> None:
    """Give the calling thread, and no other, the effective user id `user`; it has no way back."""
    number = _SYS_SETRESUID.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, "setresuid of one thread is not known for this processor")
    _check(_libc.syscall(number, -1, user, -1))


def sethostname(name: str) -> None:
    """Set the host name of the calling thread's UTS namespace."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)))


def namespace_kind(descriptor: int) -> int:
    """Return the CLONE_NEW… flag of the namespace that `descriptor` refers to, 0 when it is no namespace."""
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE)
    except OSError:
        return 0


def has_capability(number: int) -> bool:
    """Return whether this process has a capability in effect."""
    return bool(capabilities() >> number & 1)


def capabilities() -> int:
    """Return the capabilities that this process has in effect, one bit each."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root: int, path: str, flags: int) -> int:
    """Open `path` as if the directory descriptor `root` were ``/``: no link and no ``..`` in it leads out (openat2(2)).

    Raises OSError, also on a kernel before 5.6.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    encoded = os.fsencode(path)
    result = _libc.syscall(_SYS_OPENAT2, root, encoded, ctypes.byref(how), ctypes.sizeof(how))
    _check(result, path)
    return int(result)


def boot_id() -> str:
    """Return what identifies this boot of the kernel."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
