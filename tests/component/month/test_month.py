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
from tests.component.month.scenario import HOUR, Month
from tests.component.month.world import Pace, World, world
from wherry.api import meta
from wherry.util import clock, virtualtime

_SEED = 20260101
_LONG = Pace(heartbeat=2 * HOUR, grace=5 * HOUR, monitor_period=HOUR / 2)
"""For a month: kubelets renew their leases every ten seconds, which would be 26 million writes."""

_REAL = Pace(heartbeat=10.0, grace=50.0, monitor_period=5.0)


async def live(days: int, seed: int) -> tuple[str, Counter[str]]:
    """Live through `days` and return the digest of all writes and how often each rule was looked at."""
    random.seed(seed)
    async with world(seed, _LONG) as made:
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


async def _lose_one(made: World, month: Month) -> None:
    node = max(made.nodes.alive(), key=lambda name: len(made.nodes.running_on(name)))
    before = set(made.nodes.running_on(node))
    month.guard.trouble += 1
    made.nodes.lose(node)
    await clock.sleep(45)
    assert meta.is_true(made.objects["nodes"][node], "Ready"), "it may miss four heartbeats"
    await clock.sleep(25)
    assert meta.condition(made.objects["nodes"][node], "Ready")["status"] == "Unknown"
    assert {taint["effect"] for taint in made.objects["nodes"][node]["spec"]["taints"]} == {"NoSchedule", "NoExecute"}
    pods = [made.objects["pods"][key] for key in before if made.objects["pods"][key]["metadata"].get("generateName")]
    assert not any(meta.is_deleting(pod) for pod in pods)
    await clock.sleep(300)
    replaced = [pod for pod in pods if meta.controller_of(pod)["kind"] == "ReplicaSet"]
    assert replaced
    assert all(meta.is_deleting(made.objects["pods"][meta.key_of(pod)]) for pod in replaced)
    await made.nodes.find(node)
    month.guard.trouble -= 1
    month.guard.disturb()
    await clock.sleep(120)
    assert not made.objects["nodes"][node]["spec"].get("taints")
    assert not [pod for pod in replaced if meta.key_of(pod) in made.objects["pods"]]


def test_with_the_heartbeats_of_kubelets_a_lost_node_is_noticed_and_left_in_time() -> None:
    async def run() -> None:
        random.seed(_SEED)
        async with world(_SEED, _REAL) as made:
            month = Month(made, Guard(made), nodes=20)
            made.observers.append(month.guard)
            await month.prepare()
            await _lose_one(made, month)
            await clock.sleep(HOUR / 2)
            month.guard.check()

    virtualtime.run(run())
