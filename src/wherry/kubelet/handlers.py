"""What lifecycle hooks and probes do: run a command, ask over HTTP, open a port, call gRPC health, sleep."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from wherry.kubelet.podspec import Container

MAX_BODY = 10 * 1024

_SCHEMES = {"HTTP": "http", "HTTPS": "https"}


class HandlerError(Exception):
    """The handler's description cannot be used (a port of no such name)."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    body: str


def port_number(port: int | str, container: Container) -> int:
    """Return a port given by number or by the name of a container's port. Raises HandlerError."""
    if isinstance(port, int):
        number = port
    else:
        named = [p["containerPort"] for p in container.get("ports") or () if p.get("name") == port]
        if not named and not port.isdigit():
            raise HandlerError(f'couldn\'t find port: "{port}" in container "{container["name"]}"')
        number = int(named[0] if named else port)
    if not 0 < number < 65536:
        raise HandlerError(f"invalid port number: {port}")
    return number


def http_url(action: Mapping[str, Any], container: Container, *, address: str) -> URL:
    """Return the URL of an ``httpGet`` action; without a host it goes to the pod. Raises HandlerError."""
    path, _, query = str(action.get("path") or "/").partition("?")
    scheme = _SCHEMES.get(action.get("scheme") or "HTTP", "http")
    host = action.get("host") or address
    text = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port_number(action['port'], container)}"
    return URL(text + "/" + path.lstrip("/") + (f"?{query}" if query else ""), encoded=True)


def http_headers(action: Mapping[str, Any], *, user_agent: str) -> list[tuple[str, str]]:
    """Return the headers of a request; the defaults yield to those given, and an empty value leaves one out."""
    given = [(h["name"], h.get("value") or "") for h in action.get("httpHeaders") or ()]
    names = {name.lower() for name, _ in given}
    headers = [(n, v) for n, v in (("User-Agent", user_agent), ("Accept", "*/*")) if n.lower() not in names]
    return headers + [(n, v) for n, v in given if v or n.lower() not in ("user-agent", "accept")]


class HttpCaller:
    """Sends the requests of hooks and probes; certificates are not verified, as kubelets do not."""

    def __init__(self, user_agent: str) -> None:
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def get(
        self, action: Mapping[str, Any], container: Container, *, address: str, timeout: float, follow: bool = True
    ) -> HttpAnswer:
        """Send one request on a connection of its own. Raises HandlerError, OSError, TimeoutError, aiohttp errors.

        Redirects within the host are followed; one to another host is the answer.
        """
        url = http_url(action, container, address=address)
        headers = http_headers(action, user_agent=self._user_agent)
        for _ in range(10):
            async with self._pool().get(
                url,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            ) as response:
                body = (await response.content.read(MAX_BODY)).decode(errors="replace")
                location = response.headers.get("Location")
                if not follow or location is None or response.status not in (301, 302, 303, 307, 308):
                    return HttpAnswer(response.status, body)
                target = url.join(URL(location))
                if target.host != url.host:
                    return HttpAnswer(response.status, body)
                url = target
        raise OSError("stopped after 10 redirects")

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connector = aiohttp.TCPConnector(limit=0, ssl=context, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def open_port(address: str, port: int, *, timeout: float) -> None:
    """Open a TCP connection and close it. Raises OSError, TimeoutError."""
    async with asyncio.timeout(timeout):
        _, writer = await asyncio.open_connection(address, port)
    writer.close()


def command_of(action: Mapping[str, Any]) -> Sequence[str]:
    """Return the argv of an ``exec`` action."""
    return action.get("command") or ()
