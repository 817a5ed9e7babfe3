"""An event loop whose time jumps to the next timer as soon as nothing is ready to run.

A ten-minute back-off or a month of CronJobs takes milliseconds, and two runs with the same seed are the same run.
The loop must not wait for real I/O: its selector is polled, never waited on, unless no timer is left.
"""

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from wherry.util import clock

T = TypeVar("T")

EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class _JumpingSelector(selectors.DefaultSelector):
    """Turn a wait of the loop into a jump of its clock."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.offset += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop under virtual time; ``time()`` starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.offset

    @property
    def _clock_resolution(self) -> float:
        """What the loop adds to its time to find out which timers are due: never so little that rounding loses it."""
        return max(self._resolution, 2 * math.ulp(self._jumping.offset))

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        self._resolution = seconds


def run(main: Coroutine[Any, Any, T], *, epoch: float = EPOCH) -> T:
    """Run `main` like ``asyncio.run``, with the loop's and the wall clock virtual and starting at `epoch`."""
    loop = VirtualTimeLoop()
    clock.set_source(lambda: epoch + loop.time(), loop.time)
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main)
    finally:
        clock.set_source(None)
