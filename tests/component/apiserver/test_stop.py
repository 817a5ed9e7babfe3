"""How the server ends: at once, with streams closed and no client cut off in the middle of an answer."""

from aiohttp import ClientSession

from tests.component.apiserver.conftest import KEY, TOKENS
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.store.memory import MemoryStore
from wherry.util import clock

_AUTHORIZED = {"Authorization": "Bearer secret"}


async def test_a_stop_ends_watches_cleanly_and_idle_connections_at_once() -> None:
    store = MemoryStore()
    server = ApiServer(store, ServerOptions(port=0), issuer=ServiceAccountIssuer([KEY]), tokens=[TOKENS])
    async with ClientSession(headers=_AUTHORIZED) as session, server:
        base = f"http://127.0.0.1:{server.port}"
        async with session.get(f"{base}/version") as idle:
            await idle.read()
        watch = await session.get(f"{base}/api/v1/configmaps?watch=1&resourceVersion={store.revision}")
        began = clock.monotonic()
        await server.__aexit__(None, None, None)
        took = clock.monotonic() - began
        assert await watch.read() == b""  # a chunked answer that was cut off raises
        assert took < 1.0
    await store.close()
