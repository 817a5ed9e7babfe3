"""Network namespaces: made by a thread that enters a new one, pinned by a bind mount.

Every function blocks for about a millisecond and changes the calling thread's namespace while it runs, so it must be
called on a thread of its own (`wherry.network.routed` has one), never on the event loop's.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MNT_DETACH = 0x1000, 2
_NSFS_MAGIC = 0x6E736673

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.unshare.argtypes = [ctypes.c_int]
_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]
_libc.statfs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]


def _check(result: int, path: str = "") -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)


@contextlib.contextmanager
def created(path: Path, given: str = "") -> Iterator[None]:
    """Make a namespace, or take that of the file `given`, pin it at `path` and stay in it during the block."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if given:
            wanted = os.open(given, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _check(_libc.setns(wanted, _CLONE_NEWNET), given)
            finally:
                os.close(wanted)
        else:
            _check(_libc.unshare(_CLONE_NEWNET))
        try:
            path.touch(mode=0o444)
            _check(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(path), None, _MS_BIND, None), str(path))
            yield
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


@contextlib.contextmanager
def entered(path: str | Path) -> Iterator[None]:
    """Stay in the namespace pinned at `path` during the block."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        wanted = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(wanted, _CLONE_NEWNET), str(path))
        finally:
            os.close(wanted)
        try:
            yield
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def is_pinned(path: Path) -> bool:
    """Tell whether a namespace is mounted at `path`."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    return int.from_bytes(buffer.raw[:8], sys.byteorder) == _NSFS_MAGIC


def unpin(path: Path) -> None:
    """Unmount and remove the file at `path`; nothing happens when it is gone."""
    _libc.umount2(os.fsencode(path), _MNT_DETACH)
    path.unlink(missing_ok=True)
