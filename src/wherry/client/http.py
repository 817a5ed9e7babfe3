"""The transport over HTTPS: one keep-alive pool, one identity."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from yarl import URL

from wherry.api import errors
from wherry.client.transport import Call, WatchEvent
from wherry.util import certificates, clock

METHODS = {
    "get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT", "patch": "PATCH",
    "delete": "DELETE", "deletecollection": "DELETE", "discover": "GET",
}  # fmt: skip
"""The HTTP method of each verb of a call."""
_TOKEN_AGE = 60.0
_MAX_RETRIES = 10


class HTTPTransport:
    """Carries calls to an API server over HTTPS.

    `ca`, `cert` and `key` are paths of PEM files or PEM text. `token_file` is read again every minute, because bound
    tokens rotate. An answer with ``Retry-After`` (429, 503) is retried up to ten times, as client-go does. The pool
    has no limit: every watch holds one connection.
    """

    def __init__(
        self,
        url: str,
        *,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        token: str | None = None,
        token_file: str | Path | None = None,
        insecure: bool = False,
        server_name: str | None = None,
        user_agent: str = "wherry",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.ssl = tls_context(ca=ca, cert=cert, key=key, insecure=insecure) if url.startswith("https:") else None
        self._server_name = server_name
        self._token = token
        self._token_file = Path(token_file) if token_file else None
        self._token_read = 0.0
        self._headers = {"Accept": "application/json", "User-Agent": user_agent, **(headers or {})}
        self._session: aiohttp.ClientSession | None = None

    async def call(self, call: Call) -> dict[str, Any]:
        """Return the object, list or Status answered. Raises StatusError, OSError."""
        data = None if call.body is None else orjson.dumps(call.body)
        headers = {} if data is None else {"Content-Type": call.content_type}
        path = call.resource.path(call.namespace, call.name, call.subresource)
        body = await self.request(METHODS[call.verb], path, params=call.params, data=data, headers=headers)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise errors.InternalError(f"the server's answer is not JSON: {error}") from None

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send one request to any path (``/version``, a pod's log) and return the answer's body.

        Raises StatusError for an answer of 400 or more, OSError when the server cannot be reached.
        """
        url = self._address(path, params)
        for attempt in range(_MAX_RETRIES + 1):
            sent = await self._request_headers(headers)
            try:
                async with self._pool().request(
                    method, url, data=data, headers=sent, allow_redirects=False, server_hostname=self._server_name
                ) as response:
                    body = await response.read()
            except aiohttp.ClientError as error:
                raise _unreachable(error) from error
            if response.status < 400:
                return body
            pause = response.headers.get("Retry-After", "")
            if not pause.isdigit() or attempt == _MAX_RETRIES or response.status not in (429, 503):
                raise status_error(response.status, body)
            await clock.sleep(float(pause))
        raise AssertionError("unreachable")

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        """Iterate over the events of a watch until the server ends it. Raises as `call` does."""
        url = self._address(call.resource.path(call.namespace, call.name), {**call.params, "watch": "true"})
        limit = call.params.get("timeoutSeconds")
        timeout = aiohttp.ClientTimeout(total=float(limit) + 30 if limit else None)
        sent = await self._request_headers(None)
        try:
            async with self._pool().get(
                url, headers=sent, timeout=timeout, server_hostname=self._server_name
            ) as response:
                if response.status >= 400:
                    raise status_error(response.status, await response.read())
                async for line in _lines(response.content):
                    event = orjson.loads(line)
                    yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, orjson.JSONDecodeError) as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self.ssl or True, keepalive_timeout=90)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60))
        return self._session

    def _address(self, path: str, params: Mapping[str, str] | None) -> URL:
        query = f"?{urlencode(params)}" if params else ""
        return URL(self.url + quote(path, safe="/:@") + query, encoded=True)

    async def _request_headers(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        if self._token_file is not None and (self._token is None or clock.monotonic() - self._token_read > _TOKEN_AGE):
            self._token = (await asyncio.to_thread(self._token_file.read_text)).strip()
            self._token_read = clock.monotonic()
        headers = {**self._headers, **(extra or {})}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


def tls_context(
    *,
    ca: str | Path | None = None,
    cert: str | Path | None = None,
    key: str | Path | None = None,
    insecure: bool = False,
) -> ssl.SSLContext:
    """Return a client context that trusts `ca` (without it: the system's authorities) and presents `cert`.

    Each is a path or PEM text; a certificate in files is presented as `util.certificates` keeps it. Raises OSError for
    an unreadable file, ssl.SSLError for bad content.
    """
    context = ssl.create_default_context(
        cafile=str(ca) if ca and not _is_pem(ca) else None, cadata=str(ca) if ca and _is_pem(ca) else None
    )
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert and not _is_pem(cert) and (key is None or not _is_pem(key)):
        certificates.load_chain(context, cert, key)
    elif cert:
        # The ssl module reads a key pair only from files.
        with tempfile.TemporaryDirectory(prefix="wherry-tls-") as folder:
            context.load_cert_chain(
                _as_file(cert, Path(folder) / "cert.pem"), _as_file(key, Path(folder) / "key.pem") if key else None
            )
    return context


def _is_pem(value: str | Path) -> bool:
    return isinstance(value, str) and "-----BEGIN" in value


def _as_file(value: str | Path, at: Path) -> Path:
    if not _is_pem(value):
        return Path(value)
    at.touch(mode=0o600)
    at.write_text(str(value))
    return at


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split a stream into lines of any length."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        head, *rest = chunk.split(b"\n")
        parts.append(head)
        for following in rest:
            if line := b"".join(parts).strip():
                yield line
            parts = [following]
    if line := b"".join(parts).strip():
        yield line


def status_error(code: int, body: bytes) -> errors.StatusError:
    """Return the error of an answer of 400 or more; one without a Status gets its text as the message."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"code": code, "message": body[:2048].decode(errors="replace") or f"the server answered {code}"}
    return errors.from_status({**status, "code": status.get("code") or code})


def _unreachable(error: Exception) -> OSError:
    return error if isinstance(error, OSError) else ConnectionError(f"{type(error).__name__}: {error}")
