"""The durable half of a store: an append-only log of revisions. `logged.LoggedStore` holds the other half in memory."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from wherry.store.protocol import Event, Record


class Loaded(NamedTuple):
    """What a log holds when it is opened: its last revision, its compaction revision, the live records in any order."""

    revision: int
    compacted: int
    records: Iterable[Record]


class Log(Protocol):
    """All methods but `load` and `close` may be called on other threads: `append` and `compact` on one, `events` on
    another, at the same time. Every method raises OSError when the disk fails."""

    def load(self) -> Loaded:
        """Return the state at the start; called once, before anything else."""
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Make `events` durable in one commit: when this raises none of them is in the log."""
        ...

    def events(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Event]:
        """Return the events below `prefix` with ``after < revision <= until``, in order, at most `limit`."""
        ...

    def rewrite(self, renew: Callable[[str, bytes], bytes | None]) -> None:
        """Replace the values of all revisions for which `renew` (of key and value) returns another; called at start."""
        ...

    def compact(self, after: int, until: int) -> None:
        """Drop what the revisions ``after < revision <= until`` replaced or deleted, and remember `until`."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


def end_of(prefix: str) -> str:
    """Return the smallest string that is greater than every key below `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
