"""Back-off of restarts and image pulls, by the rules of client-go's ``flowcontrol.Backoff``."""

from collections.abc import Hashable
from dataclasses import dataclass, field

_SLACK = 1.0


@dataclass(slots=True)
class _Entry:
    delay: float
    updated: float


@dataclass(slots=True)
class EventBackoff:
    """Delays per key that count from an event (a container's end) and reset after twice `maximum` without one.

    Times are seconds of one clock, given by the caller.
    """

    initial: float
    maximum: float
    _entries: dict[Hashable, _Entry] = field(default_factory=dict)

    def remaining(self, key: Hashable, *, event: float, now: float) -> float:
        """Return how long `key` has still to wait since its `event`, 0 when it may go on."""
        entry = self._entries.get(key)
        if entry is None or event - entry.updated > 2 * self.maximum:
            return 0.0
        if event > now + _SLACK:  # the clock was set back since, perhaps by hours: what is left cannot be told
            return 0.0
        return _left(entry.delay - (now - event))

    def until(self, key: Hashable, *, now: float) -> float:
        """Return how long `key` has still to wait since its last attempt, 0 when it may go on."""
        entry = self._entries.get(key)
        return _left(entry.updated + entry.delay - now) if entry else 0.0

    def delay(self, key: Hashable) -> float:
        """Return the present delay of `key`."""
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def advance(self, key: Hashable, *, now: float) -> float:
        """Record a new attempt of `key` and return the delay that holds after it."""
        entry = self._entries.get(key)
        if entry is None or now - entry.updated > 2 * self.maximum:
            entry = self._entries[key] = _Entry(self.initial, now)
        else:
            entry.delay, entry.updated = min(entry.delay * 2, self.maximum), now
        return entry.delay

    def forget(self, key: Hashable) -> None:
        """Drop what is known of `key`."""
        self._entries.pop(key, None)


def _left(seconds: float) -> float:
    # Two clocks never agree to the last bit: what is left of a wait that a timer has ended is nothing.
    return seconds if seconds > 0.001 else 0.0
