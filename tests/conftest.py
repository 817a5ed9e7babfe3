"""What holds for every test: a clean environment, the real clock put back, no task left behind."""

import asyncio
import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest

from wherry.util import clock

_OWN = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "SUDO_USER", "SUDO_UID", "SUDO_GID")
_PATIENCE = 5.0


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's cluster."""
    for name in _OWN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def real_clock() -> Iterator[None]:
    """A test that swapped the clock does not swap it for the next one."""
    yield
    clock.set_source(None)


def _without_leaks(function: Callable[..., Awaitable[None]], *, patient: bool) -> Callable[..., Awaitable[None]]:
    @functools.wraps(function)
    async def checked(*args: object, **kwargs: object) -> None:
        before = asyncio.all_tasks()
        await function(*args, **kwargs)
        started = [task for task in asyncio.all_tasks() - before if not task.done()]
        if started and patient:  # a client library may close its connections behind its back
            await asyncio.wait(started, timeout=_PATIENCE)
        leaked = [task.get_name() for task in started if not task.done()]
        assert not leaked, f"tasks left running: {leaked}"

    return checked


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An asynchronous test fails when it leaves a task running; end-to-end tests are skipped without root."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            patient = item.get_closest_marker("e2e") is not None
            item.obj = _without_leaks(item.obj, patient=patient)
        if os.geteuid() != 0 and item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.skip(reason="needs root: real containers, mounts and nftables"))
