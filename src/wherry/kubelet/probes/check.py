"""One probe, once: asks and judges the answer."""

import asyncio
import errno
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from wherry.kubelet import handlers
from wherry.kubelet.handlers import HttpCaller
from wherry.kubelet.podspec import Container
from wherry.kubelet.probes import grpc
from wherry.runtime.protocol import ContainerError, Runtime


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error` is set when the question could not be asked; then `success` means nothing. `warning` says why a success
    may be none."""

    success: bool
    output: str = ""
    error: str = ""
    warning: str = ""


class Checker:
    """Carries out the four kinds of probe."""

    def __init__(self, runtime: Runtime, http: HttpCaller) -> None:
        self._runtime = runtime
        self._http = http

    async def check(
        self, probe: Mapping[str, Any], container: Container, *, container_id: str, address: str
    ) -> Outcome:
        """Ask once within ``timeoutSeconds``."""
        timeout = float(probe.get("timeoutSeconds") or 1)
        try:
            if action := probe.get("exec"):
                return await self._exec(action, container_id, timeout)
            if action := probe.get("httpGet"):
                return await self._http_get(action, container, address, timeout)
            if action := probe.get("tcpSocket"):
                return await _tcp(action, container, address, timeout)
            if action := probe.get("grpc"):
                return await grpc_check(action, address, timeout)
        except handlers.HandlerError as error:
            return Outcome(False, error=str(error))
        return Outcome(False, error=f"missing probe handler for {container['name']}")

    async def _exec(self, action: Mapping[str, Any], container_id: str, timeout: float) -> Outcome:
        command = handlers.command_of(action)
        try:
            result = await self._runtime.exec_sync(container_id, command, timeout)
        except TimeoutError:
            return Outcome(False, f'command timed out: "{shlex.join(command)}" timed out after {timeout:g}s')
        except ContainerError as error:
            return Outcome(False, error=str(error))
        output = (result.stdout + result.stderr)[: handlers.MAX_BODY].decode(errors="replace")
        return Outcome(result.exit_code == 0, output)

    async def _http_get(self, action: Mapping[str, Any], container: Container, address: str, timeout: float) -> Outcome:
        url = handlers.http_url(action, container, address=address)
        try:
            answer = await self._http.get(action, container, address=address, timeout=timeout)
        except TimeoutError:
            text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return Outcome(False, f'Get "{url}": {text}')
        except (OSError, aiohttp.ClientError) as error:
            return Outcome(False, f'Get "{url}": {_dial_error(error, str(url.host), url.port or 0)}')
        if 300 <= answer.status < 400:
            return Outcome(True, warning=f"Probe terminated redirects, Response body: {answer.body}")
        if 200 <= answer.status < 300:
            return Outcome(True, answer.body)
        return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")


async def _tcp(action: Mapping[str, Any], container: Container, address: str, timeout: float) -> Outcome:
    host = action.get("host") or address
    port = handlers.port_number(action["port"], container)
    try:
        await handlers.open_port(host, port, timeout=timeout)
    except (OSError, TimeoutError) as error:
        return Outcome(False, _dial_error(error, host, port))
    return Outcome(True)


async def grpc_check(action: Mapping[str, Any], address: str, timeout: float) -> Outcome:
    """Ask the gRPC health service."""
    port = int(action["port"])
    client = grpc.HealthClient(address, port, await asyncio.to_thread(grpc.load))
    try:
        async with asyncio.timeout(timeout):
            status = await client.ask(action.get("service") or "")
    except TimeoutError:
        if client.connected:
            return Outcome(False, f"timeout: health rpc did not complete within {timeout:g}s")
        text = f'timeout: failed to connect service "{address}:{port}" within {timeout:g}s: context deadline exceeded'
        return Outcome(False, text)
    except OSError as error:
        text = f'error: failed to connect service "{address}:{port}": {_dial_error(error, address, port)}'
        return Outcome(False, text)
    except grpc.GrpcError as error:
        if error.code == "Unimplemented":
            text = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
            return Outcome(False, f"{text}: {error.message}")
        if error.code == "DeadlineExceeded":
            return Outcome(False, f"timeout: health rpc did not complete within {timeout:g}s")
        return Outcome(False, f"error: health rpc probe failed: {error}")
    if status != "SERVING":
        return Outcome(False, f'service unhealthy (responded with "{status}")')
    return Outcome(True, "service healthy")


def _dial_error(error: Exception, host: str, port: int) -> str:
    """Word a failed connection as Go does: clients and people match on it."""
    if isinstance(error, TimeoutError):
        return f"dial tcp {host}:{port}: i/o timeout"
    number = getattr(error, "errno", None)
    if number == errno.ECONNRESET:
        return f"read tcp {host}:{port}: read: connection reset by peer"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if number:
        return f"dial tcp {host}:{port}: connect: {os.strerror(number).lower()}"
    return str(error)
