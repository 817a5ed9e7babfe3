"""When a command with a terminal begins, and how wide it finds the terminal."""

import asyncio

import pytest

from wherry.kubelet.server.execute import first_size
from wherry.kubelet.server.streams import StreamOptions
from wherry.util import clock, virtualtime

Size = tuple[int, int]


class _Client:
    """Tells its terminal's size after `delay` seconds, or never."""

    def __init__(self, size: Size | None, delay: float) -> None:
        self._size, self._delay = size, delay

    async def read_size(self) -> Size | None:
        await clock.sleep(self._delay)
        return self._size


@pytest.mark.parametrize(
    ("client", "tty", "size", "waited"),
    [
        (_Client((80, 24), 0.05), True, (80, 24), 0.05),
        (_Client((80, 24), 3600.0), True, None, 0.3),
        (_Client(None, 0.0), True, None, 0.0),
        (_Client((80, 24), 0.05), False, None, 0.0),
    ],
)
def test_a_command_waits_shortly_for_its_terminals_size(
    client: _Client, tty: bool, size: Size | None, waited: float
) -> None:
    async def main() -> None:
        began = clock.monotonic()
        options = StreamOptions(stdin=False, stdout=True, stderr=False, tty=tty)
        assert await first_size(client, options) == size  # type: ignore[arg-type]
        assert clock.monotonic() - began == pytest.approx(waited, abs=0.01)
        assert len(asyncio.all_tasks()) == 1

    virtualtime.run(main())
