import asyncio
from collections.abc import Callable, Iterator

import pytest

from wherry.client.testing import MutationDetector
from wherry.util import clock, virtualtime


def virtual_loop() -> asyncio.AbstractEventLoop:
    loop = virtualtime.VirtualTimeLoop()
    clock.set_source(lambda: virtualtime.EPOCH + loop.time(), loop.time)
    return loop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": virtual_loop}


@pytest.fixture(autouse=True)
def mutation_detector() -> Iterator[MutationDetector]:
    with MutationDetector() as detector:
        yield detector
    clock.set_source(None)
