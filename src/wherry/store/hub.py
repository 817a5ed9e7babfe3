"""Who watches what: finds the watchers of a key without visiting the others."""

import logging
from collections.abc import Callable, Iterator, Sequence

from wherry.store.protocol import Event

log = logging.getLogger(__name__)

Sink = Callable[[Sequence[Event]], None]


class Watcher:
    """A running watch (`protocol.Subscription`)."""

    def __init__(self, hub: "WatchHub", prefix: str, sink: Sink) -> None:
        self._hub = hub
        self._sink = sink
        self.prefix = prefix
        self.closed = False

    def close(self) -> None:
        """End it; the sink is not called again."""
        self.closed = True
        self._hub.remove(self)

    def deliver(self, events: Sequence[Event]) -> None:
        """Hand `events` to the sink. What it raises is logged: a commit that stands must reach the other watchers."""
        if self.closed or not events:
            return
        try:
            self._sink(events)
        except Exception:
            log.exception("the sink of a watch of %s failed", self.prefix)


class WatchHub:
    """Watchers by the prefix that they watch. Prefixes end in a slash or are whole keys."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[Watcher]] = {}

    def add(self, watcher: Watcher) -> None:
        """Let `watcher` have the events dispatched from now on."""
        self._watchers.setdefault(watcher.prefix, []).append(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Forget `watcher`; nothing happens when it is not there."""
        watchers = self._watchers.get(watcher.prefix, [])
        if watcher in watchers:
            watchers.remove(watcher)
            if not watchers:
                del self._watchers[watcher.prefix]

    def dispatch(self, events: Sequence[Event]) -> None:
        """Hand each watcher those of `events` that are below its prefix, in one batch; equal prefixes share it."""
        batches: dict[str, list[Event]] = {}
        for event in events:
            for prefix in _prefixes(event.record.key):
                if prefix in self._watchers:
                    batches.setdefault(prefix, []).append(event)
        # Taken before the first sink runs: a watch that a sink starts has caught up with these events already.
        deliveries = [(watcher, batch) for prefix, batch in batches.items() for watcher in self._watchers[prefix]]
        for watcher, batch in deliveries:
            watcher.deliver(batch)


def _prefixes(key: str) -> Iterator[str]:
    end = key.find("/") + 1
    while end:
        yield key[:end]
        end = key.find("/", end) + 1
    yield key
