"""Answers load balancers on ``healthCheckNodePort``: has this node local endpoints of the Service?"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import orjson

from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_READ_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Health:
    """What is answered on one port: the Service, and how many endpoints of it this node has."""

    namespace: str
    name: str
    local_endpoints: int


class HealthServers:
    """One small HTTP server for each port; connections are tasks of `scope`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._wanted: dict[int, Health] = {}
        self._servers: dict[int, asyncio.Server] = {}

    async def serve(self, wanted: Mapping[int, Health]) -> None:
        """Listen on exactly the ports of `wanted`; one that is taken is logged and tried again at the next call."""
        self._wanted = dict(wanted)
        for port in self._servers.keys() - wanted.keys():
            self._servers.pop(port).close()
        for port in wanted.keys() - self._servers.keys():
            try:
                self._servers[port] = await asyncio.start_server(partial(self._connected, port), port=port)
            except OSError as error:
                log.warning("cannot listen on health check port %d: %s", port, error)

    def _connected(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._scope.spawn(self._answer(port, reader, writer), guard=True)

    async def _answer(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                await reader.readuntil(b"\r\n\r\n")
            health = self._wanted.get(port)
            if health is not None:
                writer.write(response(health))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # not a client that we can answer
        finally:
            writer.close()


def response(health: Health) -> bytes:
    """Return the whole HTTP response: 200 with local endpoints, 503 without."""
    count = health.local_endpoints
    body = orjson.dumps(
        {
            "service": {"namespace": health.namespace, "name": health.name},
            "localEndpoints": count,
            "serviceProxyHealthy": True,
        }
    )
    head = (
        f"HTTP/1.1 {'200 OK' if count else '503 Service Unavailable'}\r\n"
        "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
        f"X-Load-Balancing-Endpoint-Weight: {count}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
