"""The only source of time.

Nothing else calls ``time.time``, ``datetime.now`` or ``time.sleep`` (ruff bans them), so the whole control plane runs
under virtual time in tests: ``wherry.util.virtualtime`` swaps the source here and the event loop's clock together.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_source: Callable[[], float] = time.time
_steady: Callable[[], float] = time.monotonic


def seconds() -> float:
    """Return the wall clock in seconds since the epoch."""
    return _source()


def now() -> datetime:
    """Return the wall clock as an aware UTC datetime."""
    return datetime.fromtimestamp(_source(), UTC)


def monotonic() -> float:
    """Return seconds that never go back: those of event loops (virtual in tests)."""
    return _steady()


def stopwatch() -> Callable[[], float]:
    """Return what `monotonic` asks: for code that measures steps of less than a microsecond."""
    return _steady


async def sleep(delay: float) -> None:
    """Sleep for `delay` seconds of the event loop's time."""
    await asyncio.sleep(delay)


def block(delay: float) -> None:
    """Block this thread for `delay` seconds: for commands that have no event loop."""
    time.sleep(delay)


def timestamp(at: datetime | None = None) -> str:
    """Format as metav1.Time: whole seconds, ``2026-01-02T03:04:05Z``."""
    return _formatted(int(_source())) if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=4)
def _formatted(second: int) -> str:
    """The same second is asked for by every write in it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(at: datetime | None = None) -> str:
    """Format as metav1.MicroTime: ``2026-01-02T03:04:05.678901Z``."""
    return (at or now()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> datetime:
    """Parse an RFC 3339 time (metav1.Time or MicroTime) into an aware datetime.

    Raises ValueError when `text` is not one.
    """
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def since(text: str) -> timedelta:
    """Return the time passed since the RFC 3339 time `text`."""
    return now() - parse(text)


def set_source(source: Callable[[], float] | None, steady: Callable[[], float] | None = None) -> None:
    """Replace the wall clock (seconds since the epoch) and the steady one; None restores the real ones.

    For virtual time only.
    """
    global _source, _steady
    _source, _steady = source or time.time, steady or time.monotonic
