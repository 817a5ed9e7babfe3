"""Attempts of containers that have ended: the last one stays, for ``kubectl logs --previous``; older ones go with their
logs (the rule ``maximum-dead-containers-per-container`` of kubelets)."""

import asyncio
import contextlib
import os

from wherry.api import meta
from wherry.kubelet import labels, podlogs, podspec, sandboxes
from wherry.kubelet.services import NodeServices
from wherry.runtime.protocol import EXITED


async def prune(pod: meta.Object, services: NodeServices) -> list[str]:
    """Remove the attempts that nobody asks for any more; return their ids. Raises ContainerError, OSError."""
    runtime, removed = services.cache.pod(meta.uid(pod)), []
    for _, container in podspec.every_container(pod):
        attempts = runtime.attempts(container["name"])
        dead = [attempt for attempt in attempts if attempt.state == EXITED]
        old = dead[services.config.dead_containers :]
        for attempt in old:
            await sandboxes.remove_container(meta.uid(pod), attempt.id, services)
            removed.append(attempt.id)
        if old and (kept := [labels.restart_count(attempt.labels) for attempt in attempts if attempt not in old]):
            await asyncio.to_thread(_remove_logs, os.path.dirname(old[0].log_path), min(kept))
            links = f"{meta.name(pod)}_{meta.namespace(pod)}_{container['name']}-"
            await asyncio.to_thread(podlogs.unlink, services.config.log_links, links)
    return removed


def _remove_logs(directory: str, first: int) -> None:
    """Remove the logs in `directory` (``0.log``, rotated ones too) of the attempts before the `first`."""
    if not directory:
        return
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            number = name.partition(".")[0]
            if number.isdigit() and int(number) < first:
                os.unlink(f"{directory}/{name}")
