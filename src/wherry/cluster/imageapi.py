"""``wherry image``: a small HTTP API of the node process on a Unix socket that only root may open.

The node process owns the image store, so the command asks it instead of touching the files. Every answer is a stream of
JSON lines: ``{"progress": text}``, at the end ``{"images": [...]}`` or ``{"error": text}``.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from wherry.images.protocol import Image, ImageError, ImageStore

Progress = Callable[[str], None]
Work = Callable[[dict[str, Any], Progress], Awaitable[list[Image]]]


class ImageAPI:
    """Serves an image store on a Unix socket."""

    def __init__(self, store: ImageStore, socket: Path) -> None:
        self._store = store
        self._socket = socket
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        works: dict[str, Work] = {
            "ls": self._list,
            "load": self._load,
            "pull": self._pull,
            "rm": self._remove,
            "build": self._built,
        }
        app.add_routes([web.post(f"/{name}", _handler(work)) for name, work in works.items()])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        self._socket.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._socket)).start()
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Stop listening; work under way is cancelled."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._socket.unlink(missing_ok=True)

    async def _list(self, request: dict[str, Any], progress: Progress) -> list[Image]:
        return list(await self._store.list())

    async def _load(self, request: dict[str, Any], progress: Progress) -> list[Image]:
        return list(await self._store.load(request["path"]))

    async def _pull(self, request: dict[str, Any], progress: Progress) -> list[Image]:
        return [await self._store.pull(request["reference"], progress=progress)]

    async def _remove(self, request: dict[str, Any], progress: Progress) -> list[Image]:
        for reference in request["references"]:
            await self._store.remove(reference)
        return []

    async def _built(self, request: dict[str, Any], progress: Progress) -> list[Image]:
        image = await self._store.build(
            request["context"],
            tag=request["tag"],
            dockerfile=request["dockerfile"],
            build_args=request["arguments"],
            progress=progress,
        )
        return [image]


def _handler(work: Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async for line in _lines(work, await request.json()):
            await response.write(json.dumps(line).encode() + b"\n")
        with contextlib.suppress(ConnectionResetError):  # who has read the outcome may leave
            await response.write_eof()
        return response

    return handle


async def _lines(work: Work, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Run `work`, yielding its progress as it comes and its outcome at the end."""
    queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def run() -> None:
        try:
            images = await work(request, lambda text: queue.put_nowait({"progress": text}))
            queue.put_nowait({"images": [image_row(image) for image in images]})
        except (ImageError, OSError) as error:
            queue.put_nowait({"error": str(error)})
        finally:
            queue.put_nowait(None)

    async with asyncio.TaskGroup() as group:
        group.create_task(run())
        while (line := await queue.get()) is not None:
            yield line


def image_row(image: Image) -> dict[str, Any]:
    """Return what ``wherry image ls`` shows of an image."""
    return {
        "id": image.id,
        "tags": list(image.tags),
        "digests": list(image.digests),
        "size": image.size,
        "created": image.created,
    }
