"""Stopping containers: preStop hooks within the grace period, sidecars last."""

import asyncio
import logging
from collections.abc import Callable

from wherry.api import meta
from wherry.kubelet import podspec
from wherry.kubelet.hooks import HookError
from wherry.kubelet.services import NodeServices
from wherry.kubelet.together import together
from wherry.runtime.protocol import RUNNING, ContainerStatus
from wherry.util import clock

log = logging.getLogger(__name__)

MINIMUM_GRACE = 2.0
"""What is left for the container after its preStop hook has used up the grace period, in seconds."""


async def stop_container(
    pod: meta.Object,
    status: ContainerStatus,
    services: NodeServices,
    *,
    grace: float,
    announced: set[str],
    message: str = "",
    address: str = "",
) -> None:
    """Stop one container within `grace` seconds and record its new state. `message` is the event's.

    The event and the preStop hook belong to the first call for a container: `announced` keeps the ids.
    """
    name = status.name
    container = podspec.find_container(pod, name)
    first = status.id not in announced
    announced.add(status.id)
    if first:
        services.events.normal(pod, "Killing", message or f"Stopping container {name}", container=name)
    begun = clock.monotonic()
    if first and container is not None and (container.get("lifecycle") or {}).get("preStop") and grace > 0:
        await _pre_stop(pod, container, status, services, grace, address)
        left = max(MINIMUM_GRACE, grace - (clock.monotonic() - begun))
    else:
        left = grace
    await services.runtime.stop_container(status.id, left)
    await services.cache.refresh(status.id)


async def _pre_stop(
    pod: meta.Object,
    container: podspec.Container,
    status: ContainerStatus,
    services: NodeServices,
    grace: float,
    address: str,
) -> None:
    try:
        async with asyncio.timeout(grace):
            await services.hooks.run("PreStop", container, container_id=status.id, address=address)
    except TimeoutError:
        log.info("preStop hook of %s in pod %s took longer than %gs", container["name"], meta.key_of(pod), grace)
    except HookError as error:
        log.info("preStop hook of %s in pod %s: %s", container["name"], meta.key_of(pod), error)
        services.events.warning(pod, "FailedPreStopHook", "PreStopHook failed", container=container["name"])


async def stop_all(
    pod: meta.Object,
    services: NodeServices,
    *,
    grace: float,
    announced: set[str],
    address: str = "",
    on_stopped: Callable[[], None] = lambda: None,
) -> None:
    """Stop every running container: all but sidecars together, then sidecars, the last one first.

    One grace period holds for all. `on_stopped` is called after each.
    """
    begun = clock.monotonic()
    running = {c.name: c for c in services.cache.pod(meta.uid(pod)).containers.values() if c.state == RUNNING}
    sidecars = [c["name"] for c in podspec.init_containers(pod) if podspec.is_sidecar(c)]

    async def stop(status: ContainerStatus) -> None:
        left = max(0.0, grace - (clock.monotonic() - begun))
        await stop_container(pod, status, services, grace=left, announced=announced, address=address)
        on_stopped()

    await together(*(stop(status) for name, status in running.items() if name not in sidecars))
    for name in reversed(sidecars):
        if name in running:
            await stop(running[name])
