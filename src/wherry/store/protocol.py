"""What a store is. ``memory`` and ``sqlite`` implement it; one contract suite runs over all.

All methods are called on the event loop of the server process; what blocks runs on the store's own thread.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

PUT = "PUT"
DELETE = "DELETE"


class Record:
    """One revision of one key. Immutable but for `memo`.

    `revision` is the revision that wrote it (``mod_revision``), `created` the one that created the key, `value` the
    bytes that clients get. `memo` is a slot for the owner of the store (labels and selectable fields, encoded watch
    lines …): derived from `value` alone, filled when first needed, never persisted.
    """

    __slots__ = ("created", "key", "memo", "revision", "value")

    def __init__(self, key: str, value: bytes, revision: int, created: int) -> None:
        self.key = key
        self.value = value
        self.revision = revision
        self.created = created
        self.memo: Any = None

    def __repr__(self) -> str:
        return f"<Record {self.key}@{self.revision}>"


class Event:
    """One change: `type` is PUT or DELETE; `record` what was written (of a DELETE the last state, with the revision of
    the deletion); `previous` the record that it replaced, None for a new key. Shared by all watchers; `memo` as in
    `Record`."""

    __slots__ = ("memo", "previous", "record", "type")

    def __init__(self, type: str, record: Record, previous: Record | None) -> None:
        self.type = type
        self.record = record
        self.previous = previous
        self.memo: Any = None


class Listing(NamedTuple):
    """Records in key order, the revision that they are of, and how many more follow after the limit."""

    records: Sequence[Record]
    revision: int
    remaining: int


class Mismatch(Exception):
    """The expectation of a write does not hold; `current` is what stands there now (None: nothing)."""

    def __init__(self, key: str, current: Record | None) -> None:
        super().__init__(key)
        self.key = key
        self.current = current


class Compacted(Exception):
    """The revision asked for has been compacted away; `revision` is the compaction revision."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"compacted at {revision}")
        self.revision = revision


class FutureRevision(Exception):
    """The revision asked for has not been reached; `current` is the store's revision."""

    def __init__(self, current: int) -> None:
        super().__init__(f"current revision is {current}")
        self.current = current


class Subscription(Protocol):
    """A running watch."""

    def close(self) -> None:
        """End it; the sink is not called again."""
        ...


class Store(Protocol):
    """Keys are paths (``/registry/core/pods/default/web``); prefixes that are listed, counted or watched end in a slash
    (``/registry/core/pods/``, ``/registry/core/pods/default/``). A watch may
    also name one whole key."""

    @property
    def revision(self) -> int:
        """The revision of the last acknowledged write."""
        ...

    @property
    def compacted(self) -> int:
        """Revisions below this one can no longer be listed or watched from (itself it can, as in etcd)."""
        ...

    def get(self, key: str) -> Record | None:
        """Return the acknowledged record of `key`."""
        ...

    def latest(self, key: str) -> Record | None:
        """Return the newest record of `key`, acknowledged or being written: what a compare-and-write must expect."""
        ...

    def list(self, prefix: str, *, after: str = "", limit: int = 0) -> Listing:
        """Return the acknowledged records below `prefix` with keys greater than `after`; `limit` 0 is no limit."""
        ...

    async def list_at(self, prefix: str, revision: int, *, after: str = "", limit: int = 0) -> Listing:
        """Like `list`, as it was at `revision`. Raises Compacted, FutureRevision."""
        ...

    def count(self, prefix: str) -> int:
        """Return how many acknowledged keys are below `prefix`, without visiting them."""
        ...

    async def write(self, key: str, make: Callable[[int], bytes], *, expected: int, delete: bool = False) -> Record:
        """Write one key and return its record once it is on disk.

        `expected` is the revision that ``latest(key)`` must have, 0 when the key must not exist; it is checked at the
        call, before the first await, and Mismatch raised then. `make` gets the revision that the write will have and
        returns the value; it is called at the call too and must not raise. With `delete` the key is gone afterwards
        and the value is the last state that watchers see. Raises OSError when the disk failed; the write and all that
        built on it are then undone.
        """
        ...

    async def watch(self, prefix: str, revision: int, sink: Callable[[Sequence[Event]], None]) -> Subscription:
        """Call `sink` with every event below `prefix` after `revision`, in order, in batches as they are committed.

        Events of the past come first, before this returns; none is lost between them and the live ones. `sink` runs
        on the event loop, must be quick and must not raise or change the batch, which it shares with other watchers.
        Raises Compacted; FutureRevision is not raised: events up to a later revision are left out.
        """
        ...

    async def wait_revision(self, revision: int, timeout: float) -> bool:
        """Wait until `revision` is acknowledged, at most `timeout` seconds; tell whether it is."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget what is needed only to look at revisions below `revision` (at most the current one)."""
        ...

    async def close(self) -> None:
        """Finish the writes under way and release the files."""
        ...
