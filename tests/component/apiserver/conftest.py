"""A real API server over a memory store, without TLS, and an HTTP session of an administrator."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric import ec

from wherry.apiserver.attributes import MASTERS_GROUP, UserInfo
from wherry.apiserver.authn.issuer import ServiceAccountIssuer, SigningKey
from wherry.apiserver.authn.tokenfile import TokenFile
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.store.memory import MemoryStore

ADMIN = UserInfo("admin", (MASTERS_GROUP,), "admin")
TOKENS = TokenFile([("secret", ADMIN), ("plain", UserInfo("jane"))])
_CONNECTIONS = 20

KEY = SigningKey.of(ec.generate_private_key(ec.SECP256R1()))


class Http:
    """Requests against one server as the administrator; the body is parsed JSON."""

    def __init__(self, session: ClientSession, base: str) -> None:
        self._session = session
        self._base = base
        self.headers: Any = None
        self.body = b""

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": "Bearer secret"} | {k.replace("_", "-"): v for k, v in headers.items()}
        async with self._session.request(method, self._base + path, json=body, headers=sent) as answer:
            self.headers = answer.headers
            self.body = await answer.read()
            content = (
                await answer.json(content_type=None)
                if "json" in answer.content_type
                else await answer.text(errors="replace")
            )
            return answer.status, content

    def websocket(self, path: str) -> Any:
        """Return the context manager of a WebSocket, over a connection that is open already."""
        return self._session.ws_connect(self._base + path, headers={"Authorization": "Bearer secret"})


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    store = MemoryStore()
    options = ServerOptions(port=0)
    async with ApiServer(store, options, issuer=ServiceAccountIssuer([KEY]), tokens=[TOKENS]) as server:
        yield server
    await store.close()


@pytest.fixture
async def http(server: ApiServer) -> AsyncIterator[Http]:
    async with ClientSession() as session:
        http = Http(session, f"http://127.0.0.1:{server.port}")
        # The server keeps a task for each connection: open them before the test begins.
        await asyncio.gather(*(http("GET", "/version") for _ in range(_CONNECTIONS)))
        yield http
