"""Exponential back-off, alone and per key."""

import random
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays in seconds: `initial`, then times `factor` up to `maximum`, each up to `jitter` of itself longer."""

    initial: float
    maximum: float
    factor: float = 2.0
    jitter: float = 0.0
    _current: float = 0.0

    def next(self) -> float:
        """Return the next delay and grow the one after it."""
        self._current = min(self._current * self.factor, self.maximum) if self._current else self.initial
        return self._current * (1 + self.jitter * random.random())

    def reset(self) -> None:
        """Start again at `initial`."""
        self._current = 0.0


@dataclass(slots=True)
class KeyedBackoff:
    """A `Backoff` for each key; a key that was never failed or was forgotten starts at `initial`."""

    initial: float
    maximum: float
    factor: float = 2.0
    _delays: dict[Hashable, float] = field(default_factory=dict)

    def next(self, key: Hashable) -> float:
        """Return the next delay of `key` in seconds."""
        before = self._delays.get(key, 0.0)
        delay = min(before * self.factor, self.maximum) if before else self.initial
        self._delays[key] = delay
        return delay

    def current(self, key: Hashable) -> float:
        """Return the delay last given for `key`, 0 when there was none."""
        return self._delays.get(key, 0.0)

    def forget(self, key: Hashable) -> None:
        """Start again at `initial` for `key`."""
        self._delays.pop(key, None)
