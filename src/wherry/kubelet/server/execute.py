"""Exec and attach: a session of the runtime between the client's streams."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from wherry.kubelet.server import upgrade
from wherry.kubelet.server.spdystreams import STREAM_PROTOCOLS, SpdyStreams
from wherry.kubelet.server.streams import RemoteStreams, StreamOptions
from wherry.kubelet.server.websocket import PROTOCOLS, WebSocketStreams
from wherry.runtime.protocol import ContainerError, ContainerStatus, Session
from wherry.util.tasks import Scope, cancel

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OpenSession = Callable[[ContainerStatus, StreamOptions, RemoteStreams], Awaitable[Session]]

_CHUNK = 32 * 1024
_SIZE_PATIENCE = 0.3
"""Seconds that a command waits for its terminal's size; the client sends it when it has learnt of the connection."""


def options_of(request: web.Request, *, tty: bool | None = None) -> StreamOptions:
    """Read which streams a request asks for."""

    def asked(name: str) -> bool:
        return request.query.get(name, "").lower() in ("1", "true")

    terminal = asked("tty") if tty is None else tty
    return StreamOptions(asked("input"), asked("output"), asked("error") and not terminal, terminal)


async def serve(
    request: web.Request, find: Callable[[], ContainerStatus], open_session: OpenSession, *, tty: bool | None = None
) -> web.StreamResponse:
    """Run a session for a request over WebSocket or SPDY in the container that `find` returns.

    An HTTPException of `find` is the answer, over a WebSocket as the closing Status: there an API server of today has
    accepted the connection before it asks the kubelet.
    """
    options = options_of(request, tty=tty)
    if not (options.stdin or options.stdout or options.stderr):
        raise web.HTTPBadRequest(text="you must specify at least 1 of stdin, stdout, stderr")
    if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0, heartbeat=30.0)
        await socket.prepare(request)
        streams = WebSocketStreams(socket, options)
        await streams.open()
        async with Scope() as scope:
            scope.spawn(streams.receive(), guard=True)
            try:
                status = find()
            except web.HTTPException as error:
                await streams.finish(_failure(f"unable to upgrade connection: {error.text}"))
            else:
                await run(streams, options, lambda: open_session(status, options, streams))
        return socket
    status = find()
    protocol = upgrade.choose(request, STREAM_PROTOCOLS)
    async with upgrade.spdy(request, protocol) as connection:
        spdy = await SpdyStreams.collect(connection, options, protocol)
        await run(spdy, options, lambda: open_session(status, options, spdy))
    return upgrade.Upgraded()


async def first_size(streams: RemoteStreams, options: StreamOptions) -> tuple[int, int] | None:
    """Return the size (width, height) of the client's terminal, None without one or where the client tells none.

    A program that looks at its terminal as soon as it runs shall find it as wide as it is.
    """
    if not options.tty:
        return None
    try:
        return await asyncio.wait_for(streams.read_size(), _SIZE_PATIENCE)
    except TimeoutError:
        return None


async def run(streams: RemoteStreams, options: StreamOptions, open_session: Callable[[], Awaitable[Session]]) -> None:
    """Connect the client's streams with a session until it ends or the client goes."""
    try:
        session = await open_session()
    except (ContainerError, OSError) as error:
        await streams.finish(_failure(f"error executing command in container: {error}"))
        return
    try:
        async with Scope() as scope:
            outputs = [scope.spawn(_pump_out(session.stdout, "stdout", streams, options.stdout))]
            if session.stderr is not None:
                outputs.append(scope.spawn(_pump_out(session.stderr, "stderr", streams, options.stderr)))
            if options.stdin:
                scope.spawn(_pump_in(streams, session), guard=True)
            if options.tty:
                scope.spawn(_pump_sizes(streams, session), guard=True)
            gone = scope.spawn(streams.wait_gone())
            ended = scope.spawn(_status_of(session))
            await asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                return
            await _drained(outputs, gone)
            await cancel(gone)
            await streams.finish(ended.result())
    finally:
        await session.close()


async def _status_of(session: Session) -> dict[str, Any]:
    """Wait for the end of a session and return the Status that tells of it."""
    try:
        return exit_status(await session.wait())
    except ContainerError as error:
        return _failure(f"error executing command in container: {error}")


async def _drained(outputs: list[asyncio.Task[None]], gone: asyncio.Task[None]) -> None:
    """Wait until all output is sent, or nobody wants it any more."""
    pending = set(outputs)
    while pending and not gone.done():
        done, _ = await asyncio.wait({*pending, gone}, return_when=asyncio.FIRST_COMPLETED)
        pending -= done


async def _pump_out(source: asyncio.StreamReader, name: str, streams: RemoteStreams, wanted: bool) -> None:
    while data := await source.read(_CHUNK):
        if wanted:
            await streams.write(name, data)


async def _pump_in(streams: RemoteStreams, session: Session) -> None:
    while data := await streams.read_stdin():
        await session.write_stdin(data)
    await session.close_stdin()


async def _pump_sizes(streams: RemoteStreams, session: Session) -> None:
    while (size := await streams.read_size()) is not None:
        await session.resize(*size)


def exit_status(code: int) -> dict[str, Any]:
    """Return the Status that tells a client of a command's exit code."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failure(message: str) -> dict[str, Any]:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
