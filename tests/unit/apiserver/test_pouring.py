"""Following a body in chunks, and passing it on as fast as its client takes it."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.pouring import Answer, Frames


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(0, 300)), st.sampled_from(["%x", "%X;a=b"]))
def test_a_body_is_complete_with_its_last_byte_and_not_before(texts: list[bytes], cuts: list[int], size: str) -> None:
    chunks = [(size % len(text)).encode() + b"\r\n" + text + b"\r\n" for text in [*texts, b""]]
    body = b"".join(chunks)
    frames, at = Frames(), 0
    for cut in sorted({min(cut, len(body) - 1) for cut in cuts}):
        frames.follow(body[at:cut])
        at = cut
        assert not frames.complete
    frames.follow(body[at:])
    assert frames.complete


def test_what_is_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Frames().follow(b"HTTP/1.1 500\r\n")


class _Source:
    """The connection that an answer comes from."""

    paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def test_a_client_that_is_ready_again_before_anybody_waits_for_it_gets_the_rest() -> None:
    async def main() -> None:
        written: list[bytes] = []
        client = SimpleNamespace(writing_paused=False, transport=SimpleNamespace(write=written.append))
        http = cast(Any, SimpleNamespace(protocol=client))
        answer, source = Answer(), _Source()
        answer.connection_made(cast(Any, source))
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            pouring = group.create_task(answer.pour(http))
            await asyncio.sleep(0)
            client.writing_paused = True
            answer.data_received(b"3\r\none\r\n")
            assert source.paused
            client.writing_paused = False
            for _ in range(5):
                await asyncio.sleep(0)
            assert not source.paused
            answer.data_received(b"0\r\n\r\n")
        assert (pouring.result(), b"".join(written)) == (13, b"3\r\none\r\n0\r\n\r\n")

    asyncio.run(main())
