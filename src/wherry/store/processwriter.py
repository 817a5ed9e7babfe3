"""Writes to a SQLite file by a process of its own (`wherry.store.committer`).

A thread that commits would hold the interpreter lock twice for each batch, and each time move what both use from one
core's cache to the other's: that cost the event loop a third of its time.
"""

import asyncio
import errno
import logging
import marshal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wherry.store.committer import COMPACT, INSERT, LENGTH
from wherry.store.protocol import Event
from wherry.store.sqlitefile import rows_of
from wherry.store.writer import Done

log = logging.getLogger(__name__)


class ProcessWriter:
    """A `writer.Writer` in a process of its own, started anew when it was killed.

    `revision` is the last one that is known to be in the file at `path`; `seal` gives events the values that go there.
    """

    def __init__(self, path: Path, revision: int, *, seal: Callable[[Sequence[Event]], Sequence[Event]]) -> None:
        self._path = path
        self._durable = revision
        self._seal = seal
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[tuple[int, Done]] = deque()
        self._unsent = bytearray()
        self._unread = bytearray()
        self._start()

    def append(self, events: Sequence[Event], done: Done) -> None:
        self._ask(events[-1].record.revision, done, INSERT, rows_of(self._seal(events)), len(events))

    async def compact(self, after: int, until: int) -> None:
        done: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()

        def end(error: OSError | None) -> None:
            if not done.done():
                done.set_result(error)

        self._ask(0, end, COMPACT, after, until)
        if (error := await done) is not None:
            raise error

    async def close(self) -> None:
        if self._socket is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._socket)
            self._socket.shutdown(socket.SHUT_WR)
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            program = [sys.executable, "-P", "-m", "wherry.store.committer"]
            command = [*program, str(self._path), str(theirs.fileno()), str(self._durable)]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        ours.setblocking(False)
        self._socket = ours

    def _ask(self, revision: int, done: Done, *task: Any) -> None:
        if self._socket is None:
            self._start()
        if self._loop is None and self._socket is not None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket, self._read)
        self._waiting.append((revision, done))
        content = marshal.dumps(task)
        self._unsent += LENGTH.pack(len(content)) + content
        self._send()

    def _send(self) -> None:
        assert self._socket is not None and self._loop is not None
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # `_read` hears of it too
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._socket, self._send)
        else:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._unread += data
        while len(self._unread) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._unread)[0]
            if len(self._unread) < end:
                return
            answer = marshal.loads(self._unread[LENGTH.size : end])
            del self._unread[:end]
            revision, done = self._waiting.popleft()
            if answer is None:
                self._durable = max(self._durable, revision)
            done(None if answer is None else OSError(*answer))

    def _lost(self) -> None:
        """The process was killed: what it was asked fails, and the next one undoes what of it is in the file."""
        assert self._socket is not None and self._loop is not None and self._process is not None
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        code = self._process.wait()
        log.error("the process that commits has ended with %d; the next write starts another", code)
        self._socket = self._loop = None
        self._unsent.clear()
        self._unread.clear()
        waiting, self._waiting = self._waiting, deque()
        for _, done in waiting:
            done(OSError(errno.EIO, "the process that commits has ended"))
