"""What the relay passes on to a server of this machine, by its Unix socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import ClientSession, web
from yarl import URL

from wherry.api.errors import StatusError
from wherry.apiserver.relay import Near, Relay

_HOST, _PORT = "127.0.0.1", 1  # where nobody listens


async def _echo(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(b"echo " + message.data)
        return socket
    return web.Response(text=f"{request.method} {request.path_qs}")


async def _upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server of something that is not HTTP, after its head."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    writer.write(b"echo " + await reader.readexactly(2))
    writer.close()


@contextlib.asynccontextmanager
async def _server(path: Path) -> AsyncIterator[None]:
    app = web.Application()
    app.add_routes([web.get("/{rest:.*}", _echo)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _front(relay: Relay) -> AsyncIterator[int]:
    """A server that passes all on, and says why it cannot."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await relay.pass_on(request, URL.build(scheme="https", host=_HOST, port=_PORT, path=request.path))
        except StatusError as error:
            return web.Response(status=500, text=str(error))

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
        await relay.close()


def test_a_near_server_is_reached_by_its_socket_in_every_way(tmp_path: Path) -> None:
    async def main() -> None:
        near = Near(_HOST, _PORT, tmp_path / "near.sock")
        async with _server(near.socket), _front(Relay(None, near=near)) as port, ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/logs") as answer:
                assert await answer.text() == "GET /logs"
            async with http.ws_connect(f"http://127.0.0.1:{port}/exec") as socket:
                await socket.send_bytes(b"hi")
                assert await socket.receive_bytes() == b"echo hi"

    asyncio.run(main())


def test_other_upgrades_go_through_a_near_servers_socket(tmp_path: Path) -> None:
    async def main() -> None:
        near = Near(_HOST, _PORT, tmp_path / "near.sock")
        server = await asyncio.start_unix_server(_upgraded, near.socket)
        async with server, _front(Relay(None, near=near)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            writer.write(b"hi")
            assert await reader.read() == b"echo hi"
            writer.close()

    asyncio.run(main())


def test_a_near_server_without_its_socket_is_asked_at_its_port(tmp_path: Path) -> None:
    async def main() -> None:
        near = Near(_HOST, _PORT, tmp_path / "none.sock")
        front = _front(Relay(None, near=near))
        async with front as port, ClientSession() as http, http.get(f"http://127.0.0.1:{port}/logs") as answer:
            assert "dial tcp 127.0.0.1:1: connect: connection refused" in await answer.text()

    asyncio.run(main())
