from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wherry.store import logged
from wherry.store.memory import MemoryStore
from wherry.store.protocol import Store
from wherry.store.sqlite import SQLiteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "store.db")
    yield store
    await store.close()


@pytest.fixture(params=[4096, 2], ids=["window", "log"])
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once with the recent events in memory, once with almost all of the past read from the log."""
    monkeypatch.setattr(logged, "WINDOW_EVENTS", request.param)
    monkeypatch.setattr(logged, "REPLAY_EVENTS", 3)
