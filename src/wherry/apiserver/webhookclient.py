"""Calls the HTTPS endpoints that objects name: conversion webhooks, admission webhooks.

A client configuration (``clientConfig``) has a ``url`` or a ``service``, and the certificates to trust (``caBundle``).
A service is reached at one of its ready endpoints; its certificate must be that of ``NAME.NAMESPACE.svc``.
"""

import asyncio
import base64
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from wherry.api.errors import generic_error
from wherry.api.resources import ENDPOINTSLICES, SERVICES
from wherry.api.schema import DecodeError, decode_body
from wherry.apiserver.attributes import Reader
from wherry.util.trust import OTHER_NAME, SELF_SIGNED, Vouched, mismatch, presented, trusting, vouch

Object = dict[str, Any]
_Answer = tuple[int, str, bytes]

_MAX_ANSWER = 3 * 1024 * 1024
_MAX_TEXT = 2048
_MAX_VOUCHED = 64
_UNKNOWN_ISSUER = (7, 18, 19, 20, 21)
"""OpenSSL's codes for a chain that ends with nobody who is trusted, or with a stranger of the same name."""


class WebhookError(Exception):
    """The call failed; the message says how, with the address. `code` is that of an answer that was an error."""

    def __init__(self, text: str, code: int = 503) -> None:
        super().__init__(text)
        self.code = code


class NoClient(WebhookError):
    """Nothing can be called by this configuration."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A request: the address to connect to, the name (and port) of who shall answer, what is sent, and the seconds."""

    url: str
    name: str
    body: bytes
    timeout: float

    @property
    def host(self) -> str:
        return self.name.rpartition(":")[0] or self.name

    async def send(self, session: aiohttp.ClientSession, trust: ssl.SSLContext | aiohttp.Fingerprint) -> _Answer:
        async with session.post(
            self.url,
            data=self.body,
            headers={"Content-Type": "application/json", "Accept": "application/json", "Host": self.name},
            ssl=trust,
            server_hostname=self.host,
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            allow_redirects=False,
        ) as response:
            return response.status, response.headers.get("Content-Type", ""), await _read(response)


class WebhookClient:
    """Posts JSON to webhooks over connections that it keeps. Close it at the end."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._session: aiohttp.ClientSession | None = None
        self._vouched: dict[tuple[str, str], Vouched] = {}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, config: Mapping[str, Any], body: Object, *, timeout: float) -> Object:
        """Return the JSON object that the webhook answers. Raises WebhookError in the words of Go's REST client."""
        shown = _shown(config, timeout)
        try:
            trust = _trust(config.get("caBundle") or "")
        except (ssl.SSLError, ValueError):
            raise NoClient("unable to load root certificates: unable to parse bytes as PEM block", 400) from None
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "kube-apiserver-admission"})
        try:
            url, name = self._address(config, timeout)
            call = _Call(url, name, orjson.dumps(body), timeout)
            status, media, raw = await self._answer(self._session, call, config.get("caBundle") or "", trust)
        except TimeoutError:
            raise WebhookError(f'Post "{shown}": context deadline exceeded') from None
        except (WebhookError, aiohttp.ClientError, OSError, ValueError) as error:
            raise WebhookError(f'Post "{shown}": {_reason(error)}') from None
        return _object_of(status, media, raw)

    async def _answer(self, session: aiohttp.ClientSession, call: _Call, bundle: str, trust: ssl.SSLContext) -> _Answer:
        """Send a call to a server that `bundle` makes trusted, if not by OpenSSL's rules then by Go's."""
        vouched = self._vouched.get((bundle, call.host))
        if vouched is not None and vouched.holds:
            try:
                return await call.send(session, aiohttp.Fingerprint(vouched.fingerprint))
            except aiohttp.ServerFingerprintMismatch:
                del self._vouched[bundle, call.host]
        try:
            return await call.send(session, trust)
        except aiohttp.ClientConnectorCertificateError as error:
            code = getattr(error.certificate_error, "verify_code", 0)
            if code not in (SELF_SIGNED, *OTHER_NAME):
                raise
            url = urlsplit(call.url)
            async with asyncio.timeout(call.timeout):
                certificate = await presented(url.hostname or "", url.port or 443, call.host)
            if other := mismatch(certificate, call.host):
                raise WebhookError(f"tls: failed to verify certificate: x509: {other}") from None
            vouched = vouch(base64.b64decode(bundle).decode(), certificate, call.host) if bundle else None
            if vouched is None:
                raise
        if len(self._vouched) >= _MAX_VOUCHED:
            self._vouched.clear()
        self._vouched[bundle, call.host] = vouched
        return await call.send(session, aiohttp.Fingerprint(vouched.fingerprint))

    def _address(self, config: Mapping[str, Any], timeout: float) -> tuple[str, str]:
        """Return the address to connect to and the name that the certificate must have. Raises WebhookError."""
        if config.get("url"):
            url = _shown(config, timeout)
            return url, urlsplit(url).netloc
        service = config.get("service") or {}
        namespace, name, port = service.get("namespace") or "", service.get("name") or "", service.get("port") or 443
        target = self._endpoint(namespace, name, port)
        return f"https://{target}{_path(service)}?timeout={_seconds(timeout)}", f"{name}.{namespace}.svc:{port}"

    def _endpoint(self, namespace: str, name: str, port: int) -> str:
        service = self._reader.get(SERVICES, namespace, name)
        if service is None:
            raise WebhookError(f'service "{name}" not found')
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return f"{spec.get('externalName')}:{port}"
        wanted = next((entry for entry in spec.get("ports") or () if entry.get("port") == port), None)
        if wanted is None:
            raise WebhookError(f'no service port {port} found for service "{name}"')
        found = []
        for slice_ in self._reader.list(ENDPOINTSLICES, namespace):
            if (slice_["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != name:
                continue
            number = next(
                (
                    p.get("port")
                    for p in slice_.get("ports") or ()
                    if (p.get("name") or "") == (wanted.get("name") or "")
                ),
                None,
            )
            for endpoint in slice_.get("endpoints") or ():
                if number is not None and (endpoint.get("conditions") or {}).get("ready", True):
                    found += [(address, number) for address in endpoint["addresses"]]
        if not found:
            raise WebhookError(f'no endpoints available for service "{name}"')
        address, number = random.choice(found)
        return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


def _shown(config: Mapping[str, Any], timeout: float) -> str:
    """Return the address as messages show it."""
    if config.get("url"):
        return f"{config['url']}?timeout={_seconds(timeout)}"
    service = config.get("service") or {}
    host = f"{service.get('name') or ''}.{service.get('namespace') or ''}.svc:{service.get('port') or 443}"
    return f"https://{host}{_path(service)}?timeout={_seconds(timeout)}"


def _path(service: Mapping[str, Any]) -> str:
    return "/" + (service.get("path") or "").lstrip("/")


def _seconds(timeout: float) -> str:
    return f"{timeout:g}s"


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts, total = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        total += len(part)
        if total > _MAX_ANSWER:
            raise WebhookError(f"Response body too large, max size is {_MAX_ANSWER}")
    return b"".join(parts)


def _object_of(status: int, media: str, raw: bytes) -> Object:
    """Return the object of an answer (client-go ``rest.Result.Into``). Raises WebhookError."""
    if not 200 <= status <= 206:
        found = _failure(raw)
        is_text = not media or media.lower().startswith("text/")
        text = raw[:_MAX_TEXT].decode("utf-8", "replace").strip() if is_text else "unknown"
        raise WebhookError(found or generic_error(status, text)[1], status)
    if not raw:
        raise WebhookError(f"0-length response with status code: {status} and content type: {media}")
    try:
        answer, _ = decode_body(raw)
    except DecodeError as error:
        raise WebhookError(str(error)) from None
    if answer.get("kind") == "Status" and answer.get("status") != "Success":
        raise WebhookError(str(answer.get("message") or "unknown"), answer.get("code") or 503)
    return answer


def _failure(raw: bytes) -> str:
    """Return the message of a body that is a Status and no success, else an empty text."""
    try:
        answer, _ = decode_body(raw)
    except DecodeError:
        return ""
    return str(answer.get("message") or "") if answer.get("kind") == "Status" and answer["status"] != "Success" else ""


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error.__cause__ or error
    if isinstance(inner, ConnectionRefusedError):
        host = getattr(error, "host", "")
        return f"dial tcp {host}:{getattr(error, 'port', '')}: connect: connection refused"
    if isinstance(inner, ssl.SSLCertVerificationError):
        known = "certificate signed by unknown authority" if inner.verify_code in _UNKNOWN_ISSUER else ""
        return f"tls: failed to verify certificate: x509: {known or inner.verify_message}"
    return "EOF" if isinstance(inner, aiohttp.ServerDisconnectedError) else str(inner)


@lru_cache(maxsize=64)
def _trust(bundle: str) -> ssl.SSLContext:
    return trusting(base64.b64decode(bundle).decode() if bundle else None)
