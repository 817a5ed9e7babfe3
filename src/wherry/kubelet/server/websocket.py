"""Exec and attach over WebSocket: the first byte of a message names its channel."""

import asyncio
import base64
import json
from typing import Any

from aiohttp import WSMsgType, web

from wherry.kubelet.server.streams import Inbox, StreamOptions

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255

PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
)


class WebSocketStreams:
    """`RemoteStreams` over a WebSocket; `receive` must run beside the command."""

    def __init__(self, socket: web.WebSocketResponse, options: StreamOptions) -> None:
        self._socket = socket
        self._options = options
        self._protocol = socket.ws_protocol or ""
        self._base64 = "base64" in self._protocol
        self._stdin = Inbox()
        self._sizes = Inbox()
        self._gone = asyncio.Event()

    async def open(self) -> None:
        """Tell the client that the streams are there, with an empty message on the first one."""
        first = STDOUT if self._options.stdout else STDERR if self._options.stderr else ERROR
        await self._send(first, b"")

    async def receive(self) -> None:
        """Take the client's messages until it closes the connection."""
        try:
            async for message in self._socket:
                data = message.data
                if message.type is WSMsgType.TEXT:
                    data = data.encode()
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY) or not data:
                    continue
                channel, body = data[0], data[1:]
                if self._base64:
                    channel, body = channel - 48, base64.b64decode(body)
                await self._take(channel, body)
        finally:
            self._stdin.end()
            self._sizes.end()
            self._gone.set()

    async def _take(self, channel: int, body: bytes) -> None:
        if channel == STDIN:
            await self._stdin.put(body)
        elif channel == RESIZE:
            await self._sizes.put(body)
        elif channel == CLOSE and body[:1] == bytes([STDIN]) and self._protocol.startswith("v5."):
            self._stdin.end()

    async def read_stdin(self) -> bytes:
        return await self._stdin.get()

    async def read_size(self) -> tuple[int, int] | None:
        return parse_size(await self._sizes.get())

    async def write(self, name: str, data: bytes) -> None:
        await self._send(STDOUT if name == "stdout" else STDERR, data)

    async def finish(self, status: dict[str, Any]) -> None:
        if self._protocol.startswith(("v4.", "v5.")):
            await self._send(ERROR, json.dumps(status).encode())
        elif status.get("status") != "Success":
            await self._send(ERROR, (status.get("message") or "").encode())
        await self._socket.close()

    async def wait_gone(self) -> None:
        await self._gone.wait()

    async def _send(self, channel: int, data: bytes) -> None:
        try:
            if self._base64:
                await self._socket.send_str(chr(48 + channel) + base64.b64encode(data).decode())
            else:
                await self._socket.send_bytes(bytes([channel]) + data)
        except ConnectionError:
            self._gone.set()


def parse_size(data: bytes) -> tuple[int, int] | None:
    """Read a terminal size ``{"Width":80,"Height":24}``; None at the end of the stream or for anything else."""
    try:
        found = json.loads(data)
        return int(found["Width"]), int(found["Height"])
    except (ValueError, KeyError, TypeError):
        return None
