"""Keeps the event loop free of what a large body costs: its sender waits, nobody else does."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LARGE = 128 * 1024
"""Bytes of a body that is worth a thread; nearly all are far smaller."""


async def run(size: int, work: Callable[[], T]) -> T:
    """Return what `work` returns, a function that changes nothing shared; in a thread when a body of `size` is large.

    Raises what `work` raises.
    """
    return work() if size < _LARGE else await asyncio.to_thread(work)
