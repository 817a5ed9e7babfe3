"""What the relay passes on to a server of this machine, by its Unix socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from wherry.api.errors import BadRequest, StatusError
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


class _Connection(RequestHandler):
    """Tells when it is lost, as the API server's does."""

    __slots__ = ("on_lost",)

    def __init__(self, manager: web.Server) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop())
        self.on_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self)


@contextlib.asynccontextmanager
async def _front(relay: Relay, *, reads: bool = False) -> AsyncIterator[int]:
    """A server that passes all on, and says why it cannot."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        url = URL.build(scheme="https", host=_HOST, port=_PORT, path=request.path)
        try:
            return await relay.pass_on(request, url, check=lambda _, text: BadRequest(text), reads=reads)
        except StatusError as error:
            return web.Response(status=500, text=str(error))

    runner = web.ServerRunner(_Server(handle))
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


@contextlib.asynccontextmanager
async def _answering(path: Path, *pieces: bytes, done: asyncio.Event | None = None) -> AsyncIterator[None]:
    """A server that sends `pieces` by themselves; then it closes, or waits for its client to and is `done`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.001)
        if done is not None:
            await reader.read()
            done.set()
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        yield


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def test_a_stream_is_passed_on_with_its_chunks_and_leaves_the_connection_open(tmp_path: Path) -> None:
    async def main() -> None:
        near = Near(_HOST, _PORT, tmp_path / "near.sock")
        pieces = (_HEAD + b"3\r", b"\none\r\n", b"5\r\n\r\n0\r\n\r", b"\n0\r\n\r", b"\n")
        front = _front(Relay(None, near=near), reads=True)
        async with _answering(near.socket, *pieces), front as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(b"GET /log HTTP/1.1\r\nHost: a\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"Transfer-Encoding: chunked" in head
                assert b"text/plain" in head
                assert await reader.readexactly(23) == b"3\r\none\r\n5\r\n\r\n0\r\n\r\n0\r\n\r\n"
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("cut", [b"", b"3\r\non", b"7\r\n\r\n0\r\n\r\n", b"3\r\none\r\n0\r\n"])
def test_where_a_stream_breaks_off_its_answer_does(tmp_path: Path, cut: bytes) -> None:
    async def main() -> None:
        near = Near(_HOST, _PORT, tmp_path / "near.sock")
        front = _front(Relay(None, near=near), reads=True)
        async with _answering(near.socket, _HEAD + cut), front as port, ClientSession() as http:
            answer = await http.get(f"http://127.0.0.1:{port}/log")
            with pytest.raises(ClientPayloadError):
                await answer.read()

    asyncio.run(main())


def test_what_is_no_stream_is_answered_or_checked_as_a_whole(tmp_path: Path) -> None:
    async def main() -> None:
        near = Near(_HOST, _PORT, tmp_path / "near.sock")
        async with _front(Relay(None, near=near), reads=True) as port, ClientSession() as http:
            for status, seen in ((b"200 OK", 200), (b"400 Bad Request", 500)):
                said = b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\ntext"
                async with _answering(near.socket, said), http.get(f"http://127.0.0.1:{port}/log") as answer:
                    assert (answer.status, await answer.text()) == (seen, "text")
                near.socket.unlink(missing_ok=True)

    asyncio.run(main())


def test_a_client_that_leaves_a_silent_stream_ends_it(tmp_path: Path) -> None:
    async def main() -> None:
        near, ended = Near(_HOST, _PORT, tmp_path / "near.sock"), asyncio.Event()
        front = _front(Relay(None, near=near), reads=True)
        async with _answering(near.socket, _HEAD, done=ended), front as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /log HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.close()
            async with asyncio.timeout(10):
                await ended.wait()

    asyncio.run(main())
