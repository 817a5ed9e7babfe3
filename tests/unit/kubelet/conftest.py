"""Blocking calls run inline: a thread's work takes no virtual time, so the clock would jump while it runs."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from wherry.client.testing import MutationDetector

T = TypeVar("T")


@pytest.fixture(autouse=True)
def inline_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inline(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        return function(*args, **kwargs)

    monkeypatch.setattr(asyncio, "to_thread", inline)


@pytest.fixture(autouse=True)
def mutation_detector() -> Iterator[None]:
    with MutationDetector():
        yield
