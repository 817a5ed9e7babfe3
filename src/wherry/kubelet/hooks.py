"""postStart and preStop hooks (kubernetes.io/docs/concepts/containers/container-lifecycle-hooks)."""

import shlex
from collections.abc import Mapping
from typing import Any

import aiohttp

from wherry.kubelet import handlers
from wherry.kubelet.handlers import HttpCaller
from wherry.kubelet.podspec import Container
from wherry.runtime.protocol import ContainerError, Runtime
from wherry.util import clock


class HookError(Exception):
    """A hook failed; the message is the event's."""


class HookRunner:
    """Runs hooks; the caller bounds their time."""

    def __init__(self, runtime: Runtime, http: HttpCaller) -> None:
        self._runtime = runtime
        self._http = http

    async def run(self, kind: str, container: Container, *, container_id: str, address: str) -> None:
        """Run the ``PostStart`` or ``PreStop`` hook of a container. Raises HookError; cancellable."""
        hook = (container.get("lifecycle") or {}).get(kind[0].lower() + kind[1:]) or {}
        try:
            await self._call(hook, container, container_id, address)
        except HookError as error:
            raise HookError(f"{kind}Hook failed: {error}") from error

    async def _call(self, hook: Mapping[str, Any], container: Container, container_id: str, address: str) -> None:
        if action := hook.get("exec"):
            await self._exec(action, container_id)
        elif action := hook.get("httpGet"):
            await self._http_get(action, container, address)
        elif action := hook.get("sleep"):
            await clock.sleep(float(action.get("seconds") or 0))
        elif action := hook.get("tcpSocket"):
            port = handlers.port_number(action["port"], container)
            try:
                await handlers.open_port(action.get("host") or address, port, timeout=30)
            except (OSError, TimeoutError) as error:
                raise HookError(str(error)) from error

    async def _exec(self, action: Mapping[str, Any], container_id: str) -> None:
        command = handlers.command_of(action)
        try:
            result = await self._runtime.exec_sync(container_id, command, None)
        except ContainerError as error:
            raise HookError(str(error)) from error
        if result.exit_code != 0:
            raise HookError(
                f"command '{shlex.join(command)}' exited with {result.exit_code}: "
                f"{result.stderr[:1024].decode(errors='replace')}"
            )

    async def _http_get(self, action: Mapping[str, Any], container: Container, address: str) -> None:
        try:
            answer = await self._http.get(action, container, address=address, timeout=60)
        except (TimeoutError, handlers.HandlerError, OSError, aiohttp.ClientError) as error:
            raise HookError(str(error)) from error
        if not 200 <= answer.status < 400:
            raise HookError(f"HTTP request answered {answer.status}")
