"""Structured background tasks: every task has an owner that awaits it.

``Scope`` is for services: what it spawned is cancelled and awaited when the block ends, and a task that fails ends the
block with its exception. Use ``asyncio.TaskGroup`` where the children are to finish by themselves.
"""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, ClassVar, Self

log = logging.getLogger(__name__)


class Scope:
    """An async context manager that owns background tasks.

    ``async with Scope() as scope: scope.spawn(work())``. A spawned task that raises cancels the body of the block and
    the other tasks; the exception is raised where the block ends. ``spawn(..., guard=True)`` logs the exception of
    that task instead, for work whose failure must not end its neighbours.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._owner: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None
        self._closing = False

    async def __aenter__(self) -> "Scope":
        self._owner = asyncio.current_task()
        return self

    def spawn(
        self, work: Coroutine[Any, Any, Any], *, name: str | None = None, guard: bool = False
    ) -> asyncio.Task[Any]:
        """Start `work` in this scope and return its task. Raises RuntimeError when the scope is closing."""
        if self._closing:
            work.close()
            raise RuntimeError("scope is closing")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._guarded if guard else self._done)
        return task

    def _guarded(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self._error is None:
            self._error = error
            if self._owner is not None and not self._closing:
                self._owner.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._closing = True
        pending = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if self._error is not None:
            if kind is asyncio.CancelledError and self._owner is not None:
                self._owner.uncancel()
            if kind is None or kind is asyncio.CancelledError:
                raise self._error
        return False


class Service:
    """Something that runs in the background while ``async with`` it: what a subclass does in `_run`, under its `name`.

    What that raises is logged and ends it alone.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self._scope = Scope()

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._scope.spawn(self._run(), name=self.name, guard=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._scope.__aexit__(kind, error, traceback)

    async def _run(self) -> None:
        raise NotImplementedError


async def cancel(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel `tasks` and wait until each has ended; their exceptions are dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
