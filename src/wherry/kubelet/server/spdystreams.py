"""Exec and attach over SPDY: one stream for each of error, stdin, stdout, stderr and resize."""

import asyncio
import json
from typing import Any

from aiohttp import web

from wherry.kubelet.server.spdy import SpdyConnection, SpdyStream
from wherry.kubelet.server.streams import StreamOptions
from wherry.kubelet.server.websocket import parse_size

STREAM_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_OPEN_TIMEOUT = 30.0


class SpdyStreams:
    """`RemoteStreams` over SPDY."""

    def __init__(self, connection: SpdyConnection, streams: dict[str, SpdyStream], protocol: str) -> None:
        self._connection = connection
        self._streams = streams
        self._protocol = protocol

    @staticmethod
    async def collect(connection: SpdyConnection, options: StreamOptions, protocol: str) -> "SpdyStreams":
        """Wait until the client has opened the streams that it asked for. Raises HTTPBadRequest."""
        wanted = {"error"}
        wanted |= {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)}
        if options.tty and protocol.startswith(("v3", "v4")):
            wanted.add("resize")
        found: dict[str, SpdyStream] = {}
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                while not wanted <= found.keys():
                    stream = await connection.accept()
                    if stream is None:
                        break
                    found[stream.headers.get("streamtype", "")] = stream
        except TimeoutError:
            raise web.HTTPBadRequest(text="timed out waiting for client to create streams") from None
        return SpdyStreams(connection, found, protocol)

    async def read_stdin(self) -> bytes:
        return await self._streams["stdin"].read() if "stdin" in self._streams else b""

    async def read_size(self) -> tuple[int, int] | None:
        return parse_size(await self._streams["resize"].read()) if "resize" in self._streams else None

    async def write(self, name: str, data: bytes) -> None:
        if name in self._streams:
            await self._streams[name].write(data)

    async def finish(self, status: dict[str, Any]) -> None:
        if (error := self._streams.get("error")) is not None:
            if self._protocol.startswith("v4"):
                await error.write(json.dumps(status).encode())
            elif status.get("status") != "Success":
                await error.write((status.get("message") or "").encode())
        for stream in self._streams.values():
            await stream.close_write()

    async def wait_gone(self) -> None:
        await self._connection.closed.wait()
