"""A real API server over a memory store, without TLS, and an HTTP session of an administrator."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric import ec

from wherry.apiserver.attributes import MASTERS_GROUP, UserInfo
from wherry.apiserver.authn.issuer import ServiceAccountIssuer, SigningKey
from wherry.apiserver.authn.tokenfile import TokenFile
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.store.memory import MemoryStore
from wherry.store.protocol import Store

KEY = SigningKey.of(ec.generate_private_key(ec.SECP256R1()))
TOKENS = TokenFile([("secret", UserInfo("admin", (MASTERS_GROUP,)))])
_CONNECTIONS = 4

Http = Callable[..., Awaitable[tuple[int, Any]]]


def new_server(store: Store) -> ApiServer:
    """Return a server over `store`, not started."""
    return ApiServer(store, ServerOptions(port=0), issuer=ServiceAccountIssuer([KEY]), tokens=[TOKENS])


def caller(session: ClientSession, server: ApiServer) -> Http:
    """Return a function that sends a request as the administrator and returns code and content."""

    async def call(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": "Bearer secret"} | {k.replace("_", "-"): v for k, v in headers.items()}
        url = f"http://127.0.0.1:{server.port}{path}"
        async with session.request(method, url, json=body, headers=sent) as answer:
            content: Any = await answer.text()
            if "watch=1" in path:
                content = [json.loads(line) for line in content.splitlines()]
            elif "json" in answer.content_type:
                content = json.loads(content)
            return answer.status, content

    return call


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    store = MemoryStore()
    async with new_server(store) as server:
        yield server
    await store.close()


@pytest.fixture
async def http(server: ApiServer) -> AsyncIterator[Http]:
    async with ClientSession() as session:
        call = caller(session, server)
        # The server keeps a task for each connection: open them before the test begins.
        await asyncio.gather(*(call("GET", "/version") for _ in range(_CONNECTIONS)))
        yield call
