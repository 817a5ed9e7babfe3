"""What a reader of a log gets of its lines in the CRI format: ``TIME STREAM TAG TEXT``, tag P for a part of a line.

The rules are those of kubelets (pkg/kubelet/kuberuntime/logs).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from wherry.util import clock

_PREFIX = 45
"""Bytes before a text as conmon writes them: a time with nanoseconds and offset, ``stdout`` or ``stderr``, a tag."""

_WHOLE = re.compile(rb".{35} std(?:out|err) F ")
_BREAK = re.compile(rb"\n(?:.{35} std(?:out|err) F )?")
_ODD = re.compile(rb"\n(?!.{35} std(?:out|err) F )")
_STREAMS = (b"stdout", b"stderr")

LINE = re.compile(rb".*\n")
"""A line of the file; only a newline ends one (a carriage return is text)."""


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
        self._inside = False
        self._only = None if options.stream == "All" else options.stream.lower().encode()
        self._takes_all = self._only is None and not options.timestamps and options.since is None

    @property
    def full(self) -> bool:
        """Whether the limit of bytes is reached."""
        return self._left is not None and self._left <= 0

    def block(self, data: bytes | memoryview) -> bytes:
        """Return the bytes for whole lines of the file.

        A reader who wants everything gets runs of whole lines by one search; taken one by one they would be an eighth
        as fast.
        """
        if self._takes_all:
            text = None if self._inside else _texts(data)
            if text is None:
                text = self._mixed(bytes(data))
        else:
            text = b"".join(map(self._line, LINE.findall(data)))
        if self._left is not None:
            text = text[: max(0, self._left)]
            self._left -= len(text)
        return text

    def _mixed(self, data: bytes) -> bytes:
        """Take runs of whole lines by a search each, parts of lines and what is broken one by one."""
        found, at = [], 0
        while at < len(data):
            run = None if self._inside or not _WHOLE.match(data, at) else _ODD.search(data, at)
            end = run.end() if run else data.index(b"\n", at) + 1
            piece, at = data[at:end], end
            found.append((_texts(piece) if run else None) or self._line(piece))
        return b"".join(found)

    def _line(self, line: bytes) -> bytes:
        parts = line.split(b" ", 3)
        if len(parts) < 4 or parts[1] not in _STREAMS:
            return b""
        stamp, stream, tag, text = parts
        continues, self._inside = self._inside, tag.startswith(b"P")
        if self._only is not None and stream != self._only:
            return b""
        since = self._options.since
        if since is not None and clock.parse(_micro(stamp.decode())).timestamp() < since:
            return b""
        if self._inside:
            text = text.rstrip(b"\n")
        if self._options.timestamps and not continues:
            text = stamp.replace(b"+00:00", b"Z") + b" " + text
        return text


def _texts(data: bytes | memoryview) -> bytes | None:
    """Return the texts of lines that are all whole and begin as conmon's do; None when one is or does not.

    Every newline is found, with what stands before the next text where that is as expected. So the lengths tell whether
    it was everywhere.
    """
    if not _WHOLE.match(data):
        return None
    parts = _BREAK.split(data)
    parts[0] = parts[0][_PREFIX:]
    texts = b"\n".join(parts)
    return texts if len(data) - len(texts) == _PREFIX * (len(parts) - 1) else None


def _micro(stamp: str) -> str:
    """Cut nanoseconds, which Python's datetime does not know."""
    head, dot, rest = stamp.partition(".")
    digits = rest.rstrip("Z").partition("+")[0].partition("-")[0]
    return f"{head}.{digits[:6]}{rest[len(digits) :]}" if dot else stamp
