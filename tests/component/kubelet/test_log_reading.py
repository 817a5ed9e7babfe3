"""Reading the log of a container while it is written and rotated."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

from tests.unit.kubelet.fakes import FakeRuntime
from wherry.kubelet import labels
from wherry.kubelet.runtime_cache import RuntimeCache
from wherry.kubelet.server import logs
from wherry.kubelet.server.logformat import LogOptions
from wherry.runtime.protocol import EXITED, RUNNING, ContainerStatus


def line(text: str) -> bytes:
    return f"2026-01-01T00:00:01.000000001+00:00 stdout F {text}\n".encode()


def container(path: Path) -> ContainerStatus:
    return ContainerStatus(
        id="c",
        sandbox_id="s",
        name="c",
        state=RUNNING,
        pid=1,
        labels={labels.POD_UID: "u"},
        created_at=1.0,
        started_at=1.0,
        finished_at=0.0,
        log_path=str(path),
    )


async def take(chunks: AsyncGenerator[bytes, None], size: int) -> bytes:
    read = b""
    while len(read) < size:
        read += await anext(chunks)
    return read


def test_a_follower_sees_every_line_through_a_rotation_until_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "0.log"
        path.write_bytes(line("one"))
        cache = RuntimeCache(FakeRuntime())
        cache.put_container(status := container(path))
        reading = logs.read(status, LogOptions(follow=True), cache)
        async with asyncio.timeout(10), contextlib.aclosing(reading) as chunks:
            assert await take(chunks, 4) == b"one\n"
            with path.open("ab") as old:
                path.rename(tmp_path / "0.log.1")
                old.write(line("two"))
            with path.open("ab") as new:
                new.write(line("three"))
            assert await take(chunks, 10) == b"two\nthree\n"
            cache.put_container(replace(status, state=EXITED))
            with path.open("ab") as last:
                last.write(line("four"))
            assert [chunk async for chunk in chunks] == [b"four\n"]

    asyncio.run(main())


def test_a_log_that_nobody_follows_ends_where_the_file_ends(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "0.log"
        path.write_bytes(line("x" * 100) * 10_000 + line("y" * (1 << 20)) + line("last")[:-1])
        status, cache = container(path), RuntimeCache(FakeRuntime())
        cache.put_container(status)
        whole = (b"x" * 100 + b"\n") * 10_000 + b"y" * (1 << 20) + b"\n"
        assert b"".join([chunk async for chunk in logs.read(status, LogOptions(), cache)]) == whole
        some = logs.read(status, LogOptions(limit=1_000_000), cache)
        assert b"".join([chunk async for chunk in some]) == whole[:1_000_000]

    asyncio.run(main())


def test_a_follower_who_left_is_waited_for_no_longer(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "0.log"
        path.write_bytes(line("one"))
        status, cache = container(path), RuntimeCache(FakeRuntime())
        cache.put_container(status)
        async with asyncio.timeout(10):
            reading = logs.read(status, LogOptions(follow=True), cache, wanted=lambda: False)
            assert [chunk async for chunk in reading] == [b"one\n"]

    asyncio.run(main())


def test_blocks_end_anywhere_in_lines_of_any_length(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "0.log"
        texts = [str(n) * (n * 7919 % 4001) for n in range(3000)] + ["z" * 500_000, "", "end"]
        path.write_bytes(b"".join(map(line, texts)))
        status, cache = container(path), RuntimeCache(FakeRuntime())
        cache.put_container(status)
        chunks = [chunk async for chunk in logs.read(status, LogOptions(), cache)]
        assert b"".join(chunks) == "".join(f"{text}\n" for text in texts).encode()

    asyncio.run(main())
