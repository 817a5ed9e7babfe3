import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from wherry.api import errors
from wherry.api.resources import CONFIGMAPS
from wherry.client import kubeconfig
from wherry.client.client import Client
from wherry.client.http import HTTPTransport

BIG = {"kind": "ConfigMap", "metadata": {"name": "x", "resourceVersion": "5"}, "data": {"a": "x" * 3_000_000}}


class Server:
    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.busy = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if self.busy:
            self.busy -= 1
            return web.Response(status=429, headers={"Retry-After": "0"})
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            first = orjson.dumps({"type": "ADDED", "object": BIG}) + b"\n"
            last = orjson.dumps({"type": "DELETED", "object": BIG}) + b"\n"
            await response.write(first + last[:100])
            await response.write(last[100:])
            return response
        if request.path.endswith("missing"):
            status = errors.NotFound.of("configmaps", "missing").to_status()
            return web.json_response(status, status=404)
        if request.path.endswith("broken"):
            return web.Response(status=502, text="bad gateway")
        return web.json_response({"path": request.path, "query": dict(request.query)})


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Client, Server]]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    transport = HTTPTransport(server.url, token="secret")
    yield Client(transport, field_manager="me"), server
    await transport.close()
    await runner.cleanup()


async def test_a_call_is_a_request_with_path_query_and_token() -> None:
    async with serving() as (client, server):
        answer = await client.get(CONFIGMAPS, "a", "ns", labelSelector="a=b,c in (d)")
        assert answer == {"path": "/api/v1/namespaces/ns/configmaps/a", "query": {"labelSelector": "a=b,c in (d)"}}
        assert server.seen[0].headers["Authorization"] == "Bearer secret"


async def test_errors_are_the_status_of_the_answer_or_of_its_code() -> None:
    async with serving() as (client, _):
        with pytest.raises(errors.NotFound, match='configmaps "missing" not found'):
            await client.get(CONFIGMAPS, "missing", "ns")
        with pytest.raises(errors.StatusError) as caught:
            await client.get(CONFIGMAPS, "broken", "ns")
        assert caught.value.status_code == 502 and caught.value.message == "bad gateway"


async def test_a_busy_server_is_asked_again() -> None:
    async with serving() as (client, server):
        server.busy = 3
        assert await client.get(CONFIGMAPS, "a", "ns")
        assert len(server.seen) == 4


async def test_watch_lines_may_be_of_any_length() -> None:
    async with serving() as (client, _):
        events = [event async for event in client.watch(CONFIGMAPS)]
        assert [event.type for event in events] == ["ADDED", "DELETED"]
        assert events[1].object == BIG


async def test_an_unreachable_server_is_an_oserror() -> None:
    transport = HTTPTransport("http://127.0.0.1:1")
    with pytest.raises(OSError):
        await Client(transport).get(CONFIGMAPS, "a", "ns")
    await transport.close()


async def test_a_kubeconfig_context_becomes_a_transport(tmp_path: Path) -> None:
    async with serving() as (_, server):
        (tmp_path / "token").write_text("from-file\n")
        token = base64.b64encode(b"x").decode()
        config = {
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [
                {"name": "file", "user": {"tokenFile": "token"}},
                {"name": "basic", "user": {"username": "u", "password": token}},
            ],
            "contexts": [
                {"name": "one", "context": {"cluster": "c", "user": "file"}},
                {"name": "two", "context": {"cluster": "c", "user": "basic"}},
            ],
            "current-context": "one",
        }
        path = tmp_path / "config"
        path.write_bytes(orjson.dumps(config))
        for context, scheme in ((None, "Bearer from-file"), ("two", "Basic ")):
            transport = await kubeconfig.load(path, context=context)
            await Client(transport).get(CONFIGMAPS, "a", "ns")
            await transport.close()
            assert server.seen[-1].headers["Authorization"].startswith(scheme)
        with pytest.raises(kubeconfig.KubeconfigError, match='context "three" does not exist'):
            await kubeconfig.load(path, context="three")
