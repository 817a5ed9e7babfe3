"""Who writes to a log that blocks, beside the event loop."""

from collections.abc import Callable, Sequence
from typing import Protocol

from wherry.store.protocol import Event

Done = Callable[[OSError | None], None]


class Writer(Protocol):
    """Does what it is told in this order, one after the other."""

    def append(self, events: Sequence[Event], done: Done) -> None:
        """Make `events` durable in one commit, then call `done` on the event loop: with None, or with the error when
        none of them is in the log."""
        ...

    async def compact(self, after: int, until: int) -> None:
        """As `log.Log.compact`. Raises OSError."""
        ...

    async def close(self) -> None:
        """Return when all is done."""
        ...
