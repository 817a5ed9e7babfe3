"""Container logs in the CRI format: ``TIME STREAM TAG TEXT`` a line, tag P for a part of a line and F for its end."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from wherry.kubelet import inotify
from wherry.kubelet.runtime_cache import RuntimeCache
from wherry.runtime.protocol import RUNNING, ContainerStatus
from wherry.util import clock

_BLOCK = 512 * 1024
_TAIL_BLOCK = 64 * 1024
_WHOLE = re.compile(rb"[^ ]+ [^ ]+ F (.*\n)")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_RECHECK = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """The query of a log request (core/v1 PodLogOptions)."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: float | None = None
    limit: int | None = None
    stream: str = "All"

    @staticmethod
    def parse(query: Mapping[str, str]) -> "LogOptions":
        """Read a request's parameters. Raises HTTPUnprocessableEntity for values that are none."""
        try:
            since = None
            if query.get("sinceSeconds"):
                since = clock.seconds() - int(query["sinceSeconds"])
            elif query.get("sinceTime"):
                since = clock.parse(query["sinceTime"]).timestamp()
            return LogOptions(
                follow=_flag(query, "follow"),
                previous=_flag(query, "previous"),
                timestamps=_flag(query, "timestamps"),
                tail=int(query["tailLines"]) if query.get("tailLines") else None,
                since=since,
                limit=int(query["limitBytes"]) if query.get("limitBytes") else None,
                stream=query.get("stream") or "All",
            )
        except ValueError as error:
            raise web.HTTPUnprocessableEntity(text=f"invalid log options: {error}") from error


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true")


class Formatter:
    """Turns lines of a log file into what a reader gets: filtered, stamped, limited."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit
        self._inside: dict[bytes, bool] = {}
        self._takes_all = options == LogOptions(follow=options.follow, previous=options.previous, tail=options.tail)

    @property
    def full(self) -> bool:
        """Whether the limit of bytes is reached."""
        return self._left is not None and self._left <= 0

    def block(self, data: bytes) -> bytes:
        """Return the bytes for whole lines of the file.

        A reader who wants everything gets the lines by one search; taken one by one they would be an eighth as fast.
        The search is right when it found every line and took the same from each: all that conmon puts before a text
        is as long as that of the first line, and a longer match would have begun in a text.
        """
        if self._takes_all and not any(self._inside.values()) and (first := _WHOLE.match(data)):
            texts = _WHOLE.findall(data)
            joined = b"".join(texts)
            if len(texts) == data.count(b"\n") and len(data) - len(joined) == len(texts) * first.start(1):
                return joined
        return b"".join(map(self._line, _LINE.findall(data)))

    def _line(self, line: bytes) -> bytes:
        parts = line.split(b" ", 3)
        if len(parts) < 4:
            return b""
        stamp, stream, tag, text = parts
        options = self._options
        if options.stream != "All" and stream != options.stream.lower().encode():
            return b""
        if options.since is not None and clock.parse(_micro(stamp.decode())).timestamp() < options.since:
            return b""
        continues = self._inside.get(stream, False)
        self._inside[stream] = tag.startswith(b"P")
        if self._inside[stream]:
            text = text.rstrip(b"\n")
        if options.timestamps and not continues:
            text = stamp.replace(b"+00:00", b"Z") + b" " + text
        if self._left is not None:
            text = text[: max(0, self._left)]
            self._left -= len(text)
        return text


def _micro(stamp: str) -> str:
    """Cut nanoseconds, which Python's datetime does not know."""
    head, dot, rest = stamp.partition(".")
    digits = rest.rstrip("Z").partition("+")[0].partition("-")[0]
    return f"{head}.{digits[:6]}{rest[len(digits) :]}" if dot else stamp


def tail_offset(path: Path, lines: int, *, stream: str = "All") -> int:
    """Return where the last `lines` whole lines of a log begin. Blocks."""
    if lines <= 0:
        return path.stat().st_size
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        buffer, at = b"", end
        wanted = lines + 1
        while at > 0:
            step = min(_TAIL_BLOCK, at)
            at -= step
            file.seek(at)
            buffer = file.read(step) + buffer
            starts = _ends(buffer, stream)
            if len(starts) >= wanted:
                return at + starts[-wanted]
    return 0


def _ends(buffer: bytes, stream: str) -> list[int]:
    """Return the positions after lines that end one of the container's lines; the first may be cut and is left out."""
    positions, at = [], 0
    first = True
    for line in _LINE.findall(buffer):
        at += len(line)
        parts = line.split(b" ", 3)
        whole = len(parts) == 4 and parts[2].startswith(b"F") and line.endswith(b"\n")
        if first and not whole and line.endswith(b"\n"):
            positions.append(at)  # the cut line ends something of the part before
        elif whole and (stream == "All" or parts[1] == stream.lower().encode()):
            positions.append(at)
        first = False
    return positions


async def read(status: ContainerStatus, options: LogOptions, cache: RuntimeCache) -> AsyncIterator[bytes]:
    """Iterate over the formatted log of a container; with ``follow`` until it ends."""
    path = Path(status.log_path)
    formatter = Formatter(options)
    file = await asyncio.to_thread(path.open, "rb")
    try:
        if options.tail is not None:
            file.seek(await asyncio.to_thread(tail_offset, path, options.tail, stream=options.stream))
        with inotify.watching(str(path.parent)) as watch:
            rest = b""
            while True:
                # The state is read before the file: what was written before the end is then never missed.
                running = _runs(status, cache)
                while block := await asyncio.to_thread(file.read, _BLOCK):
                    whole, rest = _whole_lines(rest + block)
                    if text := await asyncio.to_thread(formatter.block, whole):
                        yield text
                    if formatter.full:
                        return
                if not options.follow:
                    return
                if await asyncio.to_thread(_was_rotated, file.fileno(), path):
                    file.close()
                    file = await asyncio.to_thread(path.open, "rb")
                    continue
                if not running:
                    return
                await watch.wait(_RECHECK)
    finally:
        file.close()


def _whole_lines(data: bytes) -> tuple[bytes, bytes]:
    """Cut off what comes after the last newline; only that one ends a line (a carriage return is text)."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _runs(status: ContainerStatus, cache: RuntimeCache) -> bool:
    uid = status.labels.get("io.kubernetes.pod.uid", "")
    found = cache.pod(uid).containers.get(status.id)
    return found is not None and found.state == RUNNING


def _was_rotated(descriptor: int, path: Path) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False  # between the rename and the new file


async def serve(
    request: web.Request, status: ContainerStatus, options: LogOptions, cache: RuntimeCache
) -> web.StreamResponse:
    """Answer a log request."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    if not await asyncio.to_thread(os.path.exists, status.log_path):
        return web.Response(text="")
    await response.prepare(request)
    try:
        async for chunk in read(status, options, cache):
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        pass  # the reader has gone
    return response
