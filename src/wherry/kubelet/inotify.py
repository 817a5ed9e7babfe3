"""Waiting for changes in a directory (inotify(7))."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_HEADER = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Collects the events of one directory; `wait` returns those since the last call."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._events: set[tuple[int, str]] = set()
        self._changed = asyncio.Event()

    async def wait(self, timeout: float) -> set[tuple[int, str]]:
        """Return (mask, file name) pairs as soon as there are some, none after `timeout` seconds."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except TimeoutError:
            pass
        found, self._events = self._events, set()
        self._changed.clear()
        return found

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            _, mask, _, length = _HEADER.unpack_from(data, at)
            name = data[at + _HEADER.size : at + _HEADER.size + length].rstrip(b"\0")
            self._events.add((mask, os.fsdecode(name)))
            at += _HEADER.size + length
        self._changed.set()


@contextmanager
def watching(directory: str, mask: int = MODIFY | CLOSE_WRITE | MOVED_FROM | CREATE) -> Iterator[Watch]:
    """Watch a directory during the block. Raises OSError."""
    descriptor = _libc.inotify_init1(_NONBLOCK | _CLOEXEC)
    if descriptor < 0 or _libc.inotify_add_watch(descriptor, os.fsencode(directory), mask) < 0:
        number = ctypes.get_errno()
        if descriptor >= 0:
            os.close(descriptor)
        raise OSError(number, os.strerror(number), directory)
    loop = asyncio.get_running_loop()
    watch = Watch(descriptor)
    loop.add_reader(descriptor, watch._read)
    try:
        yield watch
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
