"""When watches are written: at once while there is little to tell, in rounds while there is much."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from wherry.apiserver.feeds import Feed, Pacer
from wherry.util import virtualtime


class World:
    """Virtual time in which work takes time."""

    def __init__(self) -> None:
        self.pacer = Pacer()
        self.told: list[float] = []

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def add(self, cost: float, *, fails: bool = False) -> None:
        """Have a feed told whose telling takes `cost` seconds."""
        self.pacer.add(cast(Feed, _Feed(self, cost, fails)))


class _Feed:
    def __init__(self, world: World, cost: float, fails: bool) -> None:
        self.world, self.cost, self.fails = world, cost, fails

    def tell(self, shared: dict[Any, Any]) -> None:
        self.world.told.append(self.world.now)
        loop = cast(virtualtime.VirtualTimeLoop, asyncio.get_running_loop())
        loop._jumping.offset += self.cost
        if self.fails:
            raise ValueError("cannot tell")


def run(main: Coroutine[Any, Any, None]) -> None:
    virtualtime.run(main)


def test_what_happens_seldom_is_told_at_once() -> None:
    async def main() -> None:
        world = World()
        for _ in range(5):
            world.add(0.0001)
            began = world.now
            await asyncio.sleep(1)
            assert world.told[-1] == began
        assert len(world.told) == 5

    run(main())


def test_watches_leave_two_thirds_of_the_time_to_others() -> None:
    async def main() -> None:
        world, asked = World(), 0
        while world.now < 1:
            if asked == len(world.told):
                world.add(0.005)
                asked += 1
            await asyncio.sleep(0.001)
        assert 0.25 < len(world.told) * 0.005 < 0.35

    run(main())


def test_a_long_round_lets_others_in_and_the_next_is_not_far() -> None:
    async def main() -> None:
        world, turns = World(), 0
        for _ in range(200):
            world.add(0.001)
        while len(world.told) < 200:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 50
        ended = world.now
        world.add(0.001)
        await asyncio.sleep(1)
        assert ended < world.told[-1] <= ended + 0.041

    run(main())


def test_a_watch_that_cannot_be_written_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        world.add(0.0, fails=True)
        world.add(0.0)
        await asyncio.sleep(1)
        world.add(0.0)
        await asyncio.sleep(1)
        assert len(world.told) == 3

    run(main())
    assert "could not be written" in caplog.text
