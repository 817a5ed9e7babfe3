"""A process that commits what the event loop's process writes, without a turn at its interpreter lock.

It does what it is told over a socket, in turns of a length and marshalled values: a task and its arguments one way,
None or an error's number and text the other way (`wherry.store.processwriter`). It ends when the socket does. It holds
a lock on the file as long as it lives, so that one whose server was killed is done before the next begins; and it
begins by undoing what is in the file of batches that nobody was told of, which were under way when the last one ended.
"""

import errno
import fcntl
import gc
import logging
import marshal
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from wherry.store.sqlitefile import SQLiteFile

log = logging.getLogger(__name__)

LENGTH = struct.Struct("<I")
INSERT, COMPACT = 0, 1


def serve(path: Path, connection: socket.socket, revision: int) -> None:
    """Do what is asked over `connection` until its other end is gone."""
    # Opened once and never closed: closing any descriptor of the file would give up SQLite's own locks on it.
    fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)
    file = SQLiteFile(path)
    file.cut(revision)
    stream = connection.makefile("rb")
    try:
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            content = stream.read(*LENGTH.unpack(head))
            answer = marshal.dumps(_done(file, *marshal.loads(content)))
            connection.sendall(LENGTH.pack(len(answer)) + answer)
    except (ConnectionError, EOFError, ValueError) as error:
        log.debug("the other end is gone: %s", error)
    file.close()


def _done(file: SQLiteFile, task: int, *arguments: Any) -> tuple[int, str] | None:
    try:
        if task == INSERT:
            file.insert(*arguments)
        else:
            file.compact(*arguments)
    except OSError as error:
        return error.errno or errno.EIO, error.strerror or str(error)
    return None


def main() -> None:
    """Serve the file of the first argument on the inherited socket of the second, from the revision of the third."""
    gc.disable()  # nothing here makes cycles
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end of the socket is the end
    path, descriptor, revision = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as connection:
        serve(Path(path), connection, int(revision))


if __name__ == "__main__":
    main()
