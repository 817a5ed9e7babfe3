"""Tokens of pods while the API server comes and goes."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from wherry.kubelet.clockwatch import ClockWatch
from wherry.kubelet.tokens import TokenManager
from wherry.util import clock, virtualtime
from wherry.util.tasks import Scope

POD: Any = {"metadata": {"name": "web", "namespace": "default", "uid": "u"}, "spec": {}}
HOUR = 3607


class FakeClient:
    """Gives tokens, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0

    async def create(self, *_: object, **__: object) -> Any:
        self.asked += 1
        if self.away:
            raise ConnectionRefusedError("nobody listens")
        ends = clock.timestamp(clock.now() + timedelta(seconds=HOUR))
        return {"status": {"token": f"token {self.asked}", "expirationTimestamp": ends}}


def test_an_old_token_serves_until_it_ends_while_the_server_is_away() -> None:
    async def main() -> None:
        client = FakeClient()
        tokens = TokenManager(client)  # type: ignore[arg-type]
        assert await tokens.get(POD, "", HOUR) == "token 1"
        client.away = True
        began = clock.seconds()
        while clock.seconds() < began + HOUR - 60:
            assert await tokens.get(POD, "", HOUR) == "token 1"
            due = tokens.renewal("u")
            assert due is not None and due - clock.seconds() >= 30
            await clock.sleep(due - clock.seconds())
        assert client.asked < 30
        await clock.sleep(120)
        with pytest.raises(ConnectionRefusedError):
            await tokens.get(POD, "", HOUR)
        client.away = False
        await clock.sleep(40)
        assert await tokens.get(POD, "", HOUR) == f"token {client.asked}"

    virtualtime.run(main())


def test_when_the_clock_was_set_every_token_is_renewed_once() -> None:
    async def main() -> None:
        client = FakeClient()
        tokens = TokenManager(client)  # type: ignore[arg-type]
        told: list[str] = []

        def noticed(message: str) -> None:
            told.append(message)
            tokens.renew()

        async with Scope() as scope:
            scope.spawn(ClockWatch(noticed).run())
            await tokens.get(POD, "", HOUR)
            await clock.sleep(1)
            loop = asyncio.get_running_loop()
            for jump in (-5 * 3600, -5 * 3600 + 4):  # the second is no more than steering
                clock.set_source(lambda jump=jump: virtualtime.EPOCH + jump + loop.time(), loop.time)  # type: ignore[misc]
                await clock.sleep(25)
                assert await tokens.get(POD, "", HOUR) == "token 2"
        assert told == ["The clock of the node was set back by 5h0m0s"]

    virtualtime.run(main())
