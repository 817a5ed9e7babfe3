"""A writer that can be held up or made to fail by what a test does to its log."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from wherry.store.log import Log
from wherry.store.protocol import Event
from wherry.store.writer import Done


class ThreadWriter:
    """A `wherry.store.writer.Writer` in a thread of this process."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._thread = ThreadPoolExecutor(1, "store-writer")

    def append(self, events: Sequence[Event], done: Done) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            error = None
            try:
                self._log.append(events)
            except OSError as caught:
                error = caught
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(done, error)

        self._thread.submit(work)

    async def compact(self, after: int, until: int) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._log.compact, after, until)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
