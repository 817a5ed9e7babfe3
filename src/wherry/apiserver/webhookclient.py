"""Calls the HTTPS endpoints that objects name: conversion webhooks, admission webhooks.

A client configuration (``clientConfig``) has a ``url`` or a ``service``, and the certificates to trust (``caBundle``).
A service is reached at one of its ready endpoints; its certificate must be that of ``NAME.NAMESPACE.svc``.
"""

import base64
import random
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from wherry.api.resources import ENDPOINTSLICES, SERVICES
from wherry.apiserver.attributes import Reader

Object = dict[str, Any]

_MAX_ANSWER = 3 * 1024 * 1024


class WebhookError(Exception):
    """The call failed; the message says how, with the address."""


class WebhookClient:
    """Posts JSON to webhooks over connections that it keeps. Close it at the end."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, config: Mapping[str, Any], body: Object, *, timeout: float) -> Object:
        """Return the JSON object that the webhook answers. Raises WebhookError."""
        shown, url, name = self._address(config, timeout)
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "kube-apiserver-admission"})
        try:
            async with self._session.post(
                url,
                data=orjson.dumps(body),
                headers={"Content-Type": "application/json", "Accept": "application/json", "Host": name},
                ssl=_trust(config.get("caBundle") or ""),
                server_hostname=name.rpartition(":")[0] or name,
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
            ) as response:
                raw = await response.content.read(_MAX_ANSWER)
                if response.status != 200:
                    text = raw[:1024].decode("utf-8", "replace").strip()
                    raise WebhookError(f"the server responded with the status code {response.status}: {text}")
        except TimeoutError:
            raise WebhookError(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise WebhookError(f'Post "{shown}": {_reason(error)}') from None
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise WebhookError(f"couldn't get version/kind; json parse error: {error}") from None
        if not isinstance(answer, dict):
            raise WebhookError("the webhook did not answer with an object")
        return answer

    def _address(self, config: Mapping[str, Any], timeout: float) -> tuple[str, str, str]:
        """Return the address for messages, the one to connect to, and the name that the certificate must have."""
        url = config.get("url")
        if url:
            url = f"{url}?timeout={_seconds(timeout)}"
            return url, url, urlsplit(url).netloc
        service = config.get("service") or {}
        namespace, name, port = service.get("namespace") or "", service.get("name") or "", service.get("port") or 443
        path = "/" + (service.get("path") or "").lstrip("/")
        host = f"{name}.{namespace}.svc"
        shown = f"https://{host}:{port}{path}?timeout={_seconds(timeout)}"
        target = self._endpoint(namespace, name, port)
        return shown, f"https://{target}{path}?timeout={_seconds(timeout)}", f"{host}:{port}"

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


def _seconds(timeout: float) -> str:
    return f"{timeout:g}s"


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error.__cause__ or error
    if isinstance(inner, ConnectionRefusedError):
        host = getattr(error, "host", "")
        return f"dial tcp {host}:{getattr(error, 'port', '')}: connect: connection refused"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {inner.verify_message}"
    return str(inner)


@lru_cache(maxsize=64)
def _trust(bundle: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=base64.b64decode(bundle).decode() if bundle else None)
