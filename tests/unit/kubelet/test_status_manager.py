"""When statuses of pods are written."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from wherry.api import errors
from wherry.api.field import invalid
from wherry.kubelet.status_manager import StatusManager
from wherry.util import clock, virtualtime
from wherry.util.tasks import Scope


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test in virtual time."""
    return functools.update_wrapper(lambda: virtualtime.run(test()), test)


class Writes:
    """A client that notes the statuses that it is to write, and when."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, dict[str, Any]]] = []

    async def patch(self, _resource: Any, _name: str, body: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        self.seen.append((clock.monotonic(), body["status"]))
        return {"metadata": {"resourceVersion": str(len(self.seen))}}


def _pod(generation: int, *, version: int = 0, **more: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "n", "uid": "u", "generation": generation, "resourceVersion": str(version)}
    return {"metadata": metadata, **more}


def _status(generation: int, phase: str = "Running") -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "observedGeneration": generation}
    return {"phase": phase, "observedGeneration": generation, "conditions": [ready]}


@virtually
async def test_generations_that_were_seen_are_told_together() -> None:
    writes: Any = Writes()
    async with Scope() as scope:
        statuses = StatusManager(writes, scope, lambda pod: None)
        statuses.set(_pod(1), _status(1))
        await asyncio.sleep(1)
        for generation in range(2, 22):
            statuses.set(_pod(generation), _status(generation))
            await asyncio.sleep(0.03)
        await asyncio.sleep(1)
    told = [status["observedGeneration"] for _, status in writes.seen]
    assert told[0] == 1 and told[-1] == 21 and len(told) < 9
    assert all(
        status["conditions"][0]["observedGeneration"] == status["observedGeneration"] for _, status in writes.seen
    )


@virtually
async def test_a_phase_does_not_wait_for_the_next_generation() -> None:
    writes: Any = Writes()
    async with Scope() as scope:
        statuses = StatusManager(writes, scope, lambda pod: None)
        statuses.set(_pod(1), _status(1))
        await asyncio.sleep(1)
        statuses.set(_pod(2), _status(2))
        statuses.set(_pod(2), _status(2, "Succeeded"))
        now = clock.monotonic()
        await asyncio.sleep(1)
    assert [(at - now < 0.01, status["phase"]) for at, status in writes.seen[1:]] == [(True, "Succeeded")]


@virtually
async def test_what_others_write_over_a_status_stays_for_ten_seconds() -> None:
    writes: Any = Writes()
    cached = _pod(1)
    async with Scope() as scope:
        statuses = StatusManager(writes, scope, lambda pod: cached)
        statuses.set(cached, _status(1))
        await asyncio.sleep(1)
        statuses.set(cached, _status(1))  # the cache is behind, nobody wrote
        await asyncio.sleep(20)
        assert len(writes.seen) == 1
        cached = _pod(1, version=2, status={**_status(1), "reason": "E2E", "phase": "Failed"})
        statuses.set(cached, _status(1))
        now = clock.monotonic()
        await asyncio.sleep(20)
    at, status = writes.seen[1]
    assert len(writes.seen) == 2 and 9.9 < at - now < 10.1
    assert status == {"phase": "Running", "reason": None}


@virtually
async def test_a_pod_whose_name_another_one_has_is_not_written_again() -> None:
    class Refuses(Writes):
        async def patch(self, *told: Any, **more: Any) -> dict[str, Any]:
            await super().patch(*told, **more)
            raise errors.Invalid.of("Pod", "p", [invalid("metadata.uid", "u", "field is immutable")])

    writes: Any = Refuses()
    async with Scope() as scope:
        statuses = StatusManager(writes, scope, lambda pod: None)
        statuses.set(_pod(1), _status(1))
        await statuses.flush("u")
        await asyncio.sleep(20)
    assert len(writes.seen) == 1
