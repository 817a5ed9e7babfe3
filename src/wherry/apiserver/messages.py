"""Streams as the messages of a WebSocket that its client only reads: bytes of a log, events of a watch."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Sequence

from aiohttp import ClientError, web

from wherry.apiserver.authn import websocket
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_BASE64 = "base64.binary.k8s.io"
_PROTOCOLS = ("binary.k8s.io", _BASE64)


async def send_bytes(http: web.BaseRequest, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
    """Answer with `chunks`, as bytes or base64 as the client's subprotocol says (apiserver/pkg/util/wsstream, Reader).

    The first message is empty: the client learns that the stream stands. Ends early when the client closes. A client
    that knows only other subprotocols is refused.
    """
    offered = websocket.subprotocols(http.headers)
    if offered and not any(p in _PROTOCOLS for p in offered):
        return web.Response(status=403)

    async def messages() -> AsyncIterator[bytes | str]:
        encoded = socket.ws_protocol == _BASE64
        yield "" if encoded else b""
        async for chunk in chunks:
            yield base64.b64encode(chunk).decode() if encoded else chunk

    socket = web.WebSocketResponse(protocols=_PROTOCOLS)
    return await _send(http, socket, messages())


async def send_events(
    http: web.BaseRequest, events: AsyncIterator[Sequence[bytes]], *, text: bool
) -> web.StreamResponse:
    """Answer with one message an event, encoded already; `text` for those that are text.

    Of subprotocols the client may offer one, whose name says nothing here (as for apiserver/pkg/endpoints/handlers
    WatchServer). Ends early when the client closes.
    """
    offered = websocket.subprotocols(http.headers)
    if len(offered) > 1:
        return web.Response(status=403)

    async def messages() -> AsyncIterator[bytes | str]:
        async for batch in events:
            for event in batch:
                yield event.decode() if text else event

    return await _send(http, web.WebSocketResponse(protocols=offered), messages())


async def _send(
    http: web.BaseRequest, socket: web.WebSocketResponse, messages: AsyncIterator[bytes | str]
) -> web.StreamResponse:
    await socket.prepare(http)
    async with Scope() as scope:
        ends = {scope.spawn(_copy(socket, messages)), scope.spawn(_ignore(socket))}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await socket.close()
    return socket


async def _copy(socket: web.WebSocketResponse, messages: AsyncIterator[bytes | str]) -> None:
    try:
        async for message in messages:
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)
    except (ClientError, ConnectionError) as error:
        log.debug("a stream of messages broke: %s", error)


async def _ignore(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass
