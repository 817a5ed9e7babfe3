"""The machine's clock, when somebody sets it or the machine has slept: what waits for a time of day looks again."""

import logging
from collections.abc import Callable

from wherry.kubelet.words import duration
from wherry.util import clock

log = logging.getLogger(__name__)

_PERIOD = 10.0
_TOLERANCE = 5.0
"""Seconds that a clock may gain or lose in one period without having been set: it is steered, not set."""


class ClockWatch:
    """Compares the wall clock with the steady one; `on_set(message)` is called when they have come apart."""

    def __init__(self, on_set: Callable[[str], None]) -> None:
        self._on_set = on_set

    async def run(self) -> None:
        """Watch until cancelled."""
        before = _offset()
        while True:
            await clock.sleep(_PERIOD)
            offset = _offset()
            if abs(offset - before) > _TOLERANCE:
                way = "ahead" if offset > before else "back"
                text = f"The clock of the node was set {way} by {duration(round(abs(offset - before)))}"
                log.warning("%s", text)
                self._on_set(text)
            before = offset


def _offset() -> float:
    return clock.seconds() - clock.monotonic()
