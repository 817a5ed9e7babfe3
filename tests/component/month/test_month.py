"""A month of a cluster of 100 nodes in virtual time, and that it is the same month each time."""

import logging
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.component.month.invariants import Guard
from tests.component.month.scenario import Month
from tests.component.month.world import world
from wherry.util import virtualtime

_SEED = 20260101


async def live(days: int, seed: int) -> tuple[str, Counter[str]]:
    """Live through `days` and return the digest of all writes and how often each rule was looked at."""
    random.seed(seed)
    async with world(seed) as made:
        guard = Guard(made)
        made.observers.append(guard)
        month = Month(made, guard)
        await month.prepare()
        for number in range(days):
            await month.day(number)
        return made.digest, guard.looks


@pytest.fixture(autouse=True)
def refusals_by_quota_are_meant(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "wherry.controllers")


@pytest.fixture(autouse=True)
def own_randomness() -> Iterator[None]:
    state = random.getstate()
    yield
    random.setstate(state)


def test_a_month_of_work_rollouts_and_failures_breaks_no_promise() -> None:
    _, looks = virtualtime.run(live(30, _SEED))
    assert min(looks[rule] for rule in ("one node", "room", "quota", "surge", "available", "budget")) > 20, looks


def test_the_same_seed_is_the_same_month_write_for_write() -> None:
    """In another process with another order of sets."""
    program = f"from tests.component.month.test_month import *; print(virtualtime.run(live(2, {_SEED}))[0])"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
