"""A log of revisions in one SQLite file.

The file is in WAL mode with ``synchronous=FULL``: a commit is one append to the write-ahead log and one fsync, and
survives ``kill -9`` and power loss. A row is one revision; it names the revision that it replaced, so that replaying,
rewinding and compacting follow row numbers and never search: there is no index by key.

The write-ahead log is given its full size, in written blocks, before SQLite uses it: a file system must note in its own
journal that a file grows, which makes the fsync of a commit about five times as long.
"""

import errno
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from wherry.store.log import Loaded, end_of
from wherry.store.protocol import DELETE, PUT, Event, Record

log = logging.getLogger(__name__)

_FORMAT = 2
_SCHEMA = """
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    created INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    value BLOB NOT NULL
);
CREATE TABLE compaction (revision INTEGER NOT NULL);
INSERT INTO compaction VALUES (0);
"""
_PAGE = 8192  # a batch of records fills few of them, each of which costs two system calls
_CHECKPOINT_PAGES = 2000
_ROOM = _CHECKPOINT_PAGES * (_PAGE + 24) + 32  # frames and the header of a write-ahead log that is to be checkpointed

_COLUMNS = 6
_MAX_ROWS = 32766 // _COLUMNS  # SQLite's limit of parameters of one statement

_LOAD = "SELECT key, value, revision, created, deleted FROM log ORDER BY revision"
_EVENTS = """
SELECT l.key, l.value, l.revision, l.created, l.deleted, p.value, p.revision, p.created
FROM log l LEFT JOIN log p ON p.revision = l.previous
WHERE l.revision > ? AND l.revision <= ? AND l.key >= ? AND l.key < ? ORDER BY l.revision LIMIT ?
"""


class SQLiteFile:
    """A `log.Log` in the SQLite file at `path`, which is made when it does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._room = _Room(path)
        with _as_oserror():
            if not path.exists():
                self._connect().close()  # SQLite removes the log of a database that does not exist
            self._room.make()
            self._writer = self._connect()
            self._reader = self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute(f"PRAGMA page_size={_PAGE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA journal_size_limit=67108864")
        return connection

    def load(self) -> Loaded:
        with _as_oserror():
            found = self._writer.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_FORMAT}; COMMIT;")
            elif found == 1:  # it had an index by key, which cost a write the half of its time
                self._writer.executescript(f"BEGIN; DROP INDEX log_key; PRAGMA user_version={_FORMAT}; COMMIT;")
            elif found != _FORMAT:
                raise OSError(errno.EINVAL, f"{self._path} has format {found}, this version of Wherry reads {_FORMAT}")
            compacted = self._writer.execute("SELECT revision FROM compaction").fetchone()[0]
            last = self._writer.execute("SELECT max(revision) FROM log").fetchone()[0] or 0
            records: dict[str, Record] = {}
            for key, value, revision, created, deleted in self._writer.execute(_LOAD):
                if deleted:
                    records.pop(key, None)
                else:
                    records[key] = Record(key, value, revision, created)
        return Loaded(max(1, last, compacted), compacted, records.values())

    def append(self, events: Sequence[Event]) -> None:
        self.insert(rows_of(events), len(events))

    def insert(self, values: Sequence[Any], rows: int) -> None:
        """Append events of which `rows_of` made `values`; as `append` does."""
        # One statement a batch: it commits by itself, and in a thread takes the interpreter lock back once, not once a
        # row, each of which could wait for a whole switch interval of a busy event loop.
        with _as_oserror():
            if rows <= _MAX_ROWS:
                self._writer.execute(_insert_statement(rows), values)
                return
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                for start in range(0, rows, _MAX_ROWS):
                    part = values[start * _COLUMNS : (start + _MAX_ROWS) * _COLUMNS]
                    self._writer.execute(_insert_statement(len(part) // _COLUMNS), part)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def cut(self, revision: int) -> None:
        """Remove all revisions after `revision`."""
        with _as_oserror():
            self._writer.execute("DELETE FROM log WHERE revision > ?", (revision,))

    def events(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Event]:
        with _as_oserror():
            rows = self._reader.execute(_EVENTS, (after, until, prefix, end_of(prefix), limit)).fetchall()
        return [
            Event(
                DELETE if deleted else PUT,
                Record(key, value, revision, created),
                Record(key, old, old_revision, old_created) if old is not None else None,
            )
            for key, value, revision, created, deleted, old, old_revision, old_created in rows
        ]

    def rewrite(self, renew: Callable[[str, bytes], bytes | None]) -> None:
        with _as_oserror(), self._writer:
            self._writer.execute("PRAGMA secure_delete=ON")  # what is replaced must not stay readable in the file
            self._writer.execute("BEGIN IMMEDIATE")
            rows = self._reader.execute("SELECT revision, key, value FROM log")
            for revision, key, value in rows:
                renewed = renew(key, value)
                if renewed is not None:
                    self._writer.execute("UPDATE log SET value = ? WHERE revision = ?", (renewed, revision))
        with _as_oserror():
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def compact(self, after: int, until: int) -> None:
        span = (after, until)
        replaced = "SELECT previous FROM log WHERE revision > ? AND revision <= ? AND previous > 0"
        with _as_oserror(), self._unhurried(), self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute(f"DELETE FROM log WHERE revision IN ({replaced})", span)
            self._writer.execute("DELETE FROM log WHERE revision > ? AND revision <= ? AND deleted", span)
            self._writer.execute("UPDATE compaction SET revision = ?", (until,))

    @contextmanager
    def _unhurried(self) -> Iterator[None]:
        """Commit without waiting for the disk, which the next write does for all before it: what a power failure takes
        back is forgotten once more."""
        self._writer.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            self._writer.execute("PRAGMA synchronous=FULL")

    def close(self) -> None:
        with self._room.kept(), _as_oserror():
            self._reader.close()
            self._writer.close()


class _Room:
    """The blocks of the write-ahead log of the database at `path`, kept from one opening to the next."""

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(f"{path.name}-wal")
        self._spare = path.with_name(f"{path.name}-wal-spare")

    def make(self) -> None:
        """Give a log that does not exist its blocks. One that exists may hold commits and is left alone."""
        if self._log.exists():
            return
        try:
            with self._spare.open("a+b") as file:
                file.write(bytes(max(0, _ROOM - file.tell())))
            with self._spare.open("r+b") as file:
                file.write(bytes(32))  # without a header the log is an empty one, whatever follows
                os.fdatasync(file.fileno())
            self._spare.rename(self._log)
        except OSError as error:
            log.debug("the write-ahead log gets no blocks beforehand: %s", error)
            self._spare.unlink(missing_ok=True)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the blocks while SQLite closes the database and with it unlinks the log."""
        try:
            self._spare.unlink(missing_ok=True)
            self._spare.hardlink_to(self._log)
        except OSError as error:
            log.debug("the blocks of the write-ahead log are not kept: %s", error)
        yield
        if self._log.exists():  # somebody else has the database open: the blocks are in use
            self._spare.unlink(missing_ok=True)


def rows_of(events: Sequence[Event]) -> tuple[Any, ...]:
    """Return the values of the rows of `events`, one after the other."""
    rows = [
        (e.record.revision, e.record.key, e.record.created, e.previous.revision if e.previous else 0,
         e.type == DELETE, e.record.value)
        for e in events
    ]  # fmt: skip
    return tuple(chain.from_iterable(rows))


@lru_cache(maxsize=512)
def _insert_statement(rows: int) -> str:
    values = ",".join(["(?,?,?,?,?,?)"] * rows)
    return f"INSERT INTO log (revision, key, created, previous, deleted, value) VALUES {values}"


@contextmanager
def _as_oserror() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error
