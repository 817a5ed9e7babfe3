"""Reading container logs: from an end of the file on, through rotations, for as long as somebody follows."""

import asyncio
import contextlib
import io
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

from aiohttp import web

from wherry.kubelet import inotify
from wherry.kubelet.runtime_cache import RuntimeCache
from wherry.kubelet.server.logformat import LINE, Formatter, LogOptions
from wherry.runtime.protocol import RUNNING, ContainerStatus

_BLOCK = 3 << 16  # with what is made of it, it stays in a processor's cache and is none of the allocator's large blocks
_RECHECK = 1.0


def tail_offset(path: Path, lines: int, *, stream: str = "All") -> int:
    """Return where the last `lines` whole lines of a log begin. Blocks."""
    only = b"" if stream == "All" else stream.lower().encode()
    with path.open("rb", buffering=0) as file:
        at = os.fstat(file.fileno()).st_size
        if lines <= 0:
            return at
        wanted, cut = lines + 1, b""
        while at > 0:
            step = min(_BLOCK, at)
            at -= step
            block = os.pread(file.fileno(), step, at) + cut
            begin = block.find(b"\n") + 1 if at > 0 else 0
            cut, end = block[:begin] or block, at + block.rfind(b"\n") + 1
            for line in reversed(LINE.findall(block, begin) if begin or not at else ()):
                words = line.split(b" ", 3)
                if len(words) == 4 and words[2].startswith(b"F") and (not only or words[1] == only):
                    wanted -= 1
                    if not wanted:
                        return end
                end -= len(line)
    return 0


class _Reader:
    """Reads one log file forward in whole lines. Making one blocks."""

    def __init__(self, path: Path, options: LogOptions) -> None:
        self._path = path
        self._formatter = Formatter(options)
        self._make_room(_BLOCK)
        self._at = 0 if options.tail is None else tail_offset(path, options.tail, stream=options.stream)
        self._open()

    def _open(self) -> None:
        self._file = self._path.open("rb")
        self._inode = os.fstat(self._file.fileno()).st_ino

    def _make_room(self, size: int) -> None:
        """Make what is read into, and what finds its lines: nothing else of Python's does without looking at each byte
        by itself."""
        self._block = io.BytesIO(bytes(size))
        self._buffer = self._block.getbuffer()

    async def next(self) -> bytes | None:
        """Return what a reader gets of the next lines, None when there are none (yet) or the limit is reached.

        What is in memory is read and formatted right here: that takes less than a millisecond a block, and nearly twice
        the processor time in threads that take turns.
        """
        while not self._formatter.full:
            lines, size = await self._lines()
            if not lines:
                return None
            self._at += size
            if text := self._formatter.block(lines):
                return text
        return None

    async def _lines(self) -> tuple[list[bytes], int]:
        """Return the next whole lines and their size; only a newline ends one (a carriage return is text)."""
        while True:
            read = size = await self._fill(self._buffer)
            self._block.seek(0)
            lines = self._block.readlines(read) if read else []
            beyond = self._block.tell() - read  # of what an earlier read left there
            if lines and (beyond or not lines[-1].endswith(b"\n")):
                size -= len(lines.pop()) - beyond
            if lines or read < len(self._buffer):
                return lines, size
            self._make_room(2 * read)

    async def _fill(self, buffer: memoryview) -> int:
        """Read from the reader's place on; only for what comes from a disk a thread waits."""
        descriptor = self._file.fileno()
        with contextlib.suppress(OSError):  # also where a filesystem cannot say what it has in memory
            size = os.preadv(descriptor, [buffer], self._at, os.RWF_NOWAIT)
            if size == len(buffer) or self._at + size >= os.fstat(descriptor).st_size:
                return size
        self._file.seek(self._at)
        return await asyncio.to_thread(self._file.readinto, buffer)

    async def reopen(self) -> bool:
        """Go on with the file that a rotation put in this one's place, when all of this is read.

        Return whether there was a rotation.
        """
        try:
            rotated = (await asyncio.to_thread(os.stat, self._path)).st_ino != self._inode
        except FileNotFoundError:
            return False  # between the rename and the new file
        if rotated and not (await self._lines())[0]:
            self._file.close()
            await asyncio.to_thread(self._open)
            self._at = 0
        return rotated

    @property
    def full(self) -> bool:
        """Whether the limit of bytes is reached."""
        return self._formatter.full

    def close(self) -> None:
        """Close the file."""
        self._file.close()


async def read(
    status: ContainerStatus, options: LogOptions, cache: RuntimeCache, *, wanted: Callable[[], bool] = lambda: True
) -> AsyncGenerator[bytes, None]:
    """Iterate over the formatted log of a container; with ``follow`` until it ends, or the rest is not `wanted` any
    more. To be closed (`aclosing`)."""
    path = Path(status.log_path)
    reader = await asyncio.to_thread(_Reader, path, options)
    watching: AbstractContextManager[inotify.Watch | None] = contextlib.nullcontext()
    if options.follow:
        watching = inotify.watching(str(path.parent))
    try:
        with watching as watch:
            while True:
                # The state is read before the file: what was written before the end is then never missed.
                running = _runs(status, cache)
                while (text := await reader.next()) is not None:
                    yield text
                    await asyncio.sleep(0)  # whoever takes everything at once must not hold up others
                if reader.full or watch is None:
                    return
                if await reader.reopen():
                    continue
                if not running or not wanted():
                    return
                await watch.wait(_RECHECK)
    finally:
        reader.close()


def _runs(status: ContainerStatus, cache: RuntimeCache) -> bool:
    uid = status.labels.get("io.kubernetes.pod.uid", "")
    found = cache.pod(uid).containers.get(status.id)
    return found is not None and found.state == RUNNING


async def serve(
    request: web.Request, status: ContainerStatus, options: LogOptions, cache: RuntimeCache
) -> web.StreamResponse:
    """Answer a log request."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    if not await asyncio.to_thread(os.path.exists, status.log_path):
        return web.Response(text="")
    await response.prepare(request)
    try:
        reading = read(status, options, cache, wanted=lambda: request.transport is not None)
        async with contextlib.aclosing(reading) as chunks:
            async for chunk in chunks:
                await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        pass  # the reader has gone
    return response
