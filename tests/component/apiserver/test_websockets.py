"""What is only read over a WebSocket: the events of a watch, the bytes of a log."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestServer

from tests.component.apiserver.conftest import Http
from wherry.apiserver import messages

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_watch_over_a_websocket_has_one_text_message_an_event(http: Http) -> None:
    async with http.websocket(f"{CONFIGMAPS}?watch=1&fieldSelector=metadata.name=a") as socket:
        await http("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
        await http("DELETE", f"{CONFIGMAPS}/a")
        events = [json.loads((await socket.receive(10)).data) for _ in range(2)]
        assert [(e["type"], e["object"]["kind"]) for e in events] == [("ADDED", "ConfigMap"), ("DELETED", "ConfigMap")]
    await http("GET", "/version")  # by its answer the server has let go of the watch


@asynccontextmanager
async def log_socket(how: str, *protocols: str) -> AsyncIterator[ClientWebSocketResponse]:
    """A WebSocket to a server that sends two chunks."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await messages.send_bytes(request, _chunks(request))

    app = web.Application()
    app.router.add_get("/{how}", answer)
    async with (
        TestServer(app) as server,
        ClientSession() as session,
        session.ws_connect(server.make_url(f"/{how}"), protocols=protocols) as socket,
    ):
        yield socket


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    yield b"one\n"
    yield b"two\n"
    if request.match_info["how"] == "follow":
        await asyncio.Event().wait()


@pytest.mark.parametrize("protocol", [None, "binary.k8s.io"])
async def test_a_log_comes_as_bytes_after_an_empty_message(protocol: str | None) -> None:
    async with log_socket("all", *([protocol] if protocol else [])) as socket:
        assert socket.protocol == protocol
        got = [m.data async for m in socket if m.type is WSMsgType.BINARY]
    assert (got[0], b"".join(got)) == (b"", b"one\ntwo\n")


async def test_a_log_comes_as_base64_for_those_who_ask() -> None:
    async with log_socket("all", "v4.channel.k8s.io", "base64.binary.k8s.io") as socket:
        got = [m.data async for m in socket if m.type is WSMsgType.TEXT]
    assert b"".join(map(base64.b64decode, got)) == b"one\ntwo\n"


async def test_a_log_is_refused_to_those_who_know_other_protocols_only() -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        async with log_socket("all", "v4.channel.k8s.io"):
            pass
    assert refused.value.status == 403


async def test_following_a_log_ends_when_the_client_closes() -> None:
    async with log_socket("follow") as socket:
        for _ in range(3):
            await socket.receive(10)
        assert await socket.close()
