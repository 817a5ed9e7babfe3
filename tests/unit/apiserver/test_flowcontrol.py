"""Priority levels share the server's seats; flows share a level's."""

import asyncio
from typing import Any

import pytest

from wherry.apiserver.attributes import Attributes, UserInfo
from wherry.apiserver.flowcontrol import matching
from wherry.apiserver.flowcontrol.control import list_seats
from wherry.apiserver.flowcontrol.level import Level, Rejected


def limited(shares: int, *, lendable: int = 0, queues: int = 0, length: int = 50) -> dict[str, Any]:
    response: dict[str, Any] = {"type": "Reject"}
    if queues:
        queuing = {"queues": queues, "handSize": min(2, queues), "queueLengthLimit": length}
        response = {"type": "Queue", "queuing": queuing}
    spec = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
    return {"type": "Limited", "limited": spec}


def levels(total: int, **specs: dict[str, Any]) -> dict[str, Level]:
    made = {name: Level(name, name, spec) for name, spec in specs.items()}
    for level in made.values():
        level.settle(total, sum(one.shares for one in made.values()), list(made.values()))
    return made


async def enter(level: Level, flow: str, patience: float = 5.0) -> None:
    await level.enter(flow, "schema", 1, patience=patience)


async def test_a_full_level_without_queues_refuses() -> None:
    level = levels(2, only=limited(1))["only"]
    await enter(level, "a")
    await enter(level, "a")
    with pytest.raises(Rejected, match="concurrency-limit"):
        await enter(level, "a")
    level.leave(1, 0.1)
    await enter(level, "a")


async def test_what_is_lendable_is_borrowed_and_what_is_not_stays() -> None:
    made = levels(20, calm=limited(1, lendable=50), busy=limited(1))
    for _ in range(15):
        await enter(made["busy"], "a")
    with pytest.raises(Rejected):
        await enter(made["busy"], "a")
    for _ in range(5):
        await enter(made["calm"], "b")
    with pytest.raises(Rejected):
        await enter(made["calm"], "b")  # lent: it comes back when the borrower is done
    made["busy"].leave(1, 0.1)
    await enter(made["calm"], "b")


async def test_a_flow_with_many_requests_does_not_hold_up_another() -> None:
    level = levels(1, only=limited(1, queues=64))["only"]
    await enter(level, "holder")
    order: list[str] = []

    async def work(flow: str) -> None:
        queue = await level.enter(flow, "schema", 1, patience=5.0)
        order.append(flow)
        await asyncio.sleep(0)
        level.leave(1, 0.1, queue)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(work("greedy"))
        await asyncio.sleep(0)
        group.create_task(work("modest"))
        await asyncio.sleep(0)
        level.leave(1, 0.1)
    assert order.index("modest") <= 2
    assert level.used == level.waiting == 0


async def test_who_waits_too_long_or_finds_full_queues_is_refused_and_leaves_nothing() -> None:
    level = levels(1, only=limited(1, queues=1, length=1))["only"]
    await enter(level, "a")
    waits = asyncio.ensure_future(enter(level, "a", patience=0.01))
    await asyncio.sleep(0)
    with pytest.raises(Rejected, match="queue-full"):
        await enter(level, "a")
    with pytest.raises(Rejected, match="time-out"):
        await waits
    assert (level.used, level.waiting) == (1, 0)


def test_rules_match_users_and_what_they_ask_for() -> None:
    rule = {
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}}],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": [""], "resources": ["pods", "nodes/status"], "namespaces": ["a"]}
        ],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]}],
    }
    schema = {"spec": {"rules": [rule]}}
    account = UserInfo("system:serviceaccount:kube-system:x")
    assert matching.matches(schema, Attributes(account, "get", resource="pods", namespace="a"))
    assert not matching.matches(schema, Attributes(account, "get", resource="pods", namespace="b"))
    assert not matching.matches(schema, Attributes(account, "get", resource="nodes", subresource="status"))
    assert not matching.matches(schema, Attributes(UserInfo("x"), "get", resource="pods", namespace="a"))
    assert matching.matches(schema, Attributes(account, "get", path="/healthz/ping"))


@pytest.mark.parametrize(
    ("objects", "limit", "seats"), [(0, 0, 1), (100, 0, 1), (101, 0, 2), (9999, 0, 10), (999, 50, 1)]
)
def test_a_list_takes_seats_by_its_size(objects: int, limit: int, seats: int) -> None:
    assert list_seats(objects, limit) == seats
