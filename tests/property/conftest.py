"""A real API server and a client over HTTP; each example of a property takes a namespace of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from tests.component.apiserver.conftest import KEY, TOKENS
from wherry.api.resources import NAMESPACES
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.client.client import Client
from wherry.client.http import HTTPTransport
from wherry.store.memory import MemoryStore

_CONNECTIONS = 12


class World:
    """An administrator's client and fresh namespaces."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._numbers = itertools.count()

    async def namespace(self) -> str:
        """Create a namespace and return its name."""
        name = f"n{next(self._numbers)}"
        await self.client.create(NAMESPACES, {"metadata": {"name": name}})
        return name


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A server with an empty store."""
    store = MemoryStore()
    async with ApiServer(store, ServerOptions(port=0), issuer=ServiceAccountIssuer([KEY]), tokens=[TOKENS]) as server:
        transport = HTTPTransport(f"http://127.0.0.1:{server.port}", token="secret")
        # The server keeps a task for each connection: open them before the test begins.
        await asyncio.gather(*(transport.request("GET", "/version") for _ in range(_CONNECTIONS)))
        yield World(Client(transport))
        await transport.close()
    await store.close()
