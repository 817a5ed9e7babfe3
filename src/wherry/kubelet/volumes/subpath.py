"""subPath mounts: a part of a volume, opened so that no symbolic link leads out of it.

What is in a volume belongs to containers, which can swap a directory for a link at any moment. The kernel resolves the
path within the volume (openat2 with RESOLVE_BENEATH) and what it opened is bound, never a path.
"""

import ctypes
import errno
import os
import stat
import struct

from wherry.kubelet.volumes.plugin import VolumeError
from wherry.util import linux

_SYS_OPENAT2 = 437
_RESOLVE_BENEATH, _RESOLVE_NO_MAGICLINKS = 0x08, 0x02

_libc = ctypes.CDLL(None, use_errno=True)


def bind(volume_path: str, sub_path: str, target: str, *, make: bool = True) -> str:
    """Bind `sub_path` of the volume at `target` and return it; a missing directory is made, unless not to `make`.

    Raises VolumeError when the path leads out of the volume, OSError. Blocks.
    """
    if linux.is_mount(target):
        return target
    descriptor = _open_or_make(volume_path, sub_path) if make else open_beneath(volume_path, sub_path)
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o640))
        linux.mount(f"/proc/self/fd/{descriptor}", target, flags=linux.MS_BIND | linux.MS_REC)
    finally:
        os.close(descriptor)
    return target


def open_beneath(volume_path: str, sub_path: str) -> int:
    """Return a descriptor (O_PATH) of what is at `sub_path` of a volume; its owner closes it. Blocks.

    Raises VolumeError when the path leads out of the volume, OSError.
    """
    root = os.open(volume_path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _open_beneath(root, sub_path, volume_path)
    finally:
        os.close(root)


def _open_or_make(volume_path: str, sub_path: str) -> int:
    root = os.open(volume_path, os.O_PATH | os.O_CLOEXEC)
    try:
        try:
            return _open_beneath(root, sub_path, volume_path)
        except FileNotFoundError:
            pass
        mode = stat.S_IMODE(os.fstat(root).st_mode)
        parent = os.dup(root)
        for name in [part for part in sub_path.split("/") if part and part != "."]:
            try:
                child = _open_beneath(parent, name, volume_path)
            except FileNotFoundError:
                os.mkdir(name, 0o755, dir_fd=parent)
                child = _open_beneath(parent, name, volume_path)
                os.chmod(f"/proc/self/fd/{child}", mode)
            finally:
                os.close(parent)
            parent = child
        return parent
    finally:
        os.close(root)


def _open_beneath(root: int, path: str, volume_path: str) -> int:
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    buffer = ctypes.create_string_buffer(how, len(how))
    descriptor = _libc.syscall(_SYS_OPENAT2, root, os.fsencode(path), buffer, len(how))
    if descriptor >= 0:
        return int(descriptor)
    number = ctypes.get_errno()
    if number == errno.EXDEV:
        raise VolumeError(f"subpath {path!r} not within volume path {volume_path!r}")
    raise OSError(number, os.strerror(number), path)
