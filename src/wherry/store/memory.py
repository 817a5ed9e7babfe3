"""A store that forgets everything at the end of the process: for tests and simulation. Never leaves the event loop."""

from collections.abc import Callable, Sequence
from itertools import islice, takewhile

from wherry.store.log import Loaded
from wherry.store.logged import LoggedStore
from wherry.store.protocol import Event


class MemoryLog:
    """A `log.Log` in a dict by revision, which Python keeps in order."""

    def __init__(self) -> None:
        self._events: dict[int, Event] = {}

    def load(self) -> Loaded:
        return Loaded(1, 0, ())

    def append(self, events: Sequence[Event]) -> None:
        self._events.update((event.record.revision, event) for event in events)

    def events(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Event]:
        wanted = (e for r, e in self._events.items() if after < r <= until and e.record.key.startswith(prefix))
        return list(islice(wanted, limit))

    def rewrite(self, renew: Callable[[str, bytes], bytes | None]) -> None:
        """Nothing is there at the start."""

    def compact(self, after: int, until: int) -> None:
        for revision in list(takewhile(lambda revision: revision <= until, self._events)):
            del self._events[revision]

    def close(self) -> None:
        self._events.clear()


class MemoryStore(LoggedStore):
    """A `protocol.Store` whose writes are acknowledged in the next turn of the event loop."""

    def __init__(self) -> None:
        super().__init__(MemoryLog())
