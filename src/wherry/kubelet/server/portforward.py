"""Port-forward: connections to ports of a pod's loopback, over SPDY, SPDY in a WebSocket, or WebSocket channels."""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, hdrs, web

from wherry.kubelet.server import upgrade
from wherry.kubelet.server.spdy import SpdyConnection, SpdyError, SpdyStream
from wherry.network import namespace as netns
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
TUNNEL_PROTOCOL_V2 = "v2.portforward.k8s.io"
CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io")
_CHUNK = 32 * 1024
_PAIR_TIMEOUT = 30.0


async def serve(request: web.Request, network_namespace: str | None) -> web.StreamResponse:
    """Forward ports for a request; `network_namespace` None means the host's."""
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        socket_ = web.WebSocketResponse(
            protocols=(TUNNEL_PROTOCOL, TUNNEL_PROTOCOL_V2, *CHANNEL_PROTOCOLS), max_msg_size=0
        )
        await socket_.prepare(request)
        if socket_.ws_protocol in (TUNNEL_PROTOCOL, TUNNEL_PROTOCOL_V2):
            async with _tunnel(socket_) as connection:
                await _forward(connection, network_namespace)
            await socket_.close()
        else:
            ports = [int(p) for value in request.query.getall("port", []) for p in value.split(",")]
            await _Channels(socket_, ports, network_namespace).run()
        return socket_
    protocol = upgrade.choose(request, (SPDY_PROTOCOL,))
    async with upgrade.spdy(request, protocol) as connection:
        await _forward(connection, network_namespace)
    return upgrade.Upgraded()


@contextlib.asynccontextmanager
async def _tunnel(near: web.WebSocketResponse) -> AsyncIterator[SpdyConnection]:
    """Speak SPDY in the binary messages of a WebSocket."""
    connection = SpdyConnection(near.send_bytes)

    async def receive() -> None:
        try:
            async for message in near:
                if message.type is WSMsgType.BINARY:
                    await connection.feed(message.data)
        except SpdyError as error:
            log.info("port-forward: %s", error)
        finally:
            connection.end()

    async with Scope() as scope:
        scope.spawn(receive(), guard=True)
        with contextlib.suppress(ConnectionError):
            yield connection


async def _forward(connection: SpdyConnection, network_namespace: str | None) -> None:
    """Serve pairs of a data and an error stream, matched by their request id, until the client goes."""
    waiting: dict[str, SpdyStream] = {}
    async with Scope() as scope:
        while (stream := await connection.accept()) is not None:
            key = stream.headers.get("requestid", "") or stream.headers.get("port", "")
            other = waiting.pop(key, None)
            if other is None:
                waiting[key] = stream
                continue
            data, error = (stream, other) if stream.headers.get("streamtype") == "data" else (other, stream)
            scope.spawn(_serve_pair(data, error, network_namespace), guard=True)
        # The client has said that it opens no more; what it has goes on until it leaves.
        await connection.closed.wait()


async def _serve_pair(data: SpdyStream, error: SpdyStream, network_namespace: str | None) -> None:
    port = int(data.headers.get("port") or 0)
    try:
        reader, writer = await connect(network_namespace, port)
    except OSError as problem:
        with contextlib.suppress(ConnectionError):
            await error.write(_refusal(port, problem).encode())
            await error.close_write()
            await data.reset()
        return

    async def up() -> None:
        while chunk := await data.read():
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def down() -> None:
        while chunk := await reader.read(_CHUNK):
            await data.write(chunk)
        await data.close_write()

    try:
        with contextlib.suppress(ConnectionError):
            async with Scope() as scope:
                sending = scope.spawn(up(), guard=True)
                await down()
                # The pod has closed; what the client still sends has no reader.
                sending.cancel()
            await error.close_write()
    finally:
        writer.close()


class _Channels:
    """Port-forward over plain channels: two for each port, data and error."""

    def __init__(self, near: web.WebSocketResponse, ports: list[int], network_namespace: str | None) -> None:
        self._near = near
        self._ports = ports
        self._namespace = network_namespace
        self._writers: dict[int, asyncio.StreamWriter] = {}

    async def run(self) -> None:
        async with Scope() as scope:
            for index, port in enumerate(self._ports):
                for channel in (2 * index, 2 * index + 1):
                    await self._near.send_bytes(bytes([channel]) + struct.pack("<H", port))
            for index, port in enumerate(self._ports):
                await self._open(scope, index, port)
            async for message in self._near:
                if message.type is WSMsgType.BINARY and (writer := self._writers.get(message.data[0])) is not None:
                    writer.write(message.data[1:])
                    await writer.drain()
        for writer in self._writers.values():
            writer.close()

    async def _open(self, scope: Scope, index: int, port: int) -> None:
        try:
            reader, writer = await connect(self._namespace, port)
        except OSError as error:
            await self._near.send_bytes(bytes([2 * index + 1]) + _refusal(port, error).encode())
            return
        self._writers[2 * index] = writer
        scope.spawn(self._down(index, reader), guard=True)

    async def _down(self, index: int, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                await self._near.send_bytes(bytes([2 * index]) + chunk)
        if len(self._ports) == 1:
            await self._near.close()


def _refusal(port: int, problem: OSError) -> str:
    """Say in Go's words why nobody could be connected to: kubectl shows it and ends."""
    why = os.strerror(problem.errno).lower() if problem.errno else str(problem)
    return f"error forwarding port {port} to pod: dial tcp4 127.0.0.1:{port}: connect: {why}"


async def connect(network_namespace: str | None, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port of the loopback in a network namespace. Raises OSError."""
    problem: OSError = ConnectionRefusedError(f"connection to port {port} refused")
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            made = await asyncio.to_thread(_make_socket, network_namespace, family)
        except OSError as error:
            problem = error
            continue
        try:
            await asyncio.get_running_loop().sock_connect(made, (address, port))
            return await asyncio.open_connection(sock=made)
        except OSError as error:
            made.close()
            # The first answer is the one that counts: most pods have no IPv6.
            problem = problem if family == socket.AF_INET6 else error
    raise problem


def _make_socket(network_namespace: str | None, family: int) -> socket.socket:
    """Make a socket that belongs to the namespace for as long as it lives. Blocks."""
    if network_namespace is None:
        made = socket.socket(family, socket.SOCK_STREAM)
    else:
        with netns.entered(network_namespace):
            made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    return made
