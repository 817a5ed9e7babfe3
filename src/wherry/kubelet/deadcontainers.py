"""Attempts of containers that have ended: the last one stays, for ``kubectl logs --previous``; older ones go with their
logs (the rule ``maximum-dead-containers-per-container`` of kubelets)."""

import asyncio
import contextlib
import os

from wherry.api import meta
from wherry.kubelet import podspec, sandboxes
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
        if old:
            kept = {attempt.log_path for attempt in attempts if attempt not in old}
            await asyncio.to_thread(_remove_logs, os.path.dirname(old[0].log_path), kept)
    return removed


def _remove_logs(directory: str, kept: set[str]) -> None:
    """Remove the logs in `directory`, rotated ones too, but those of the paths `kept`."""
    if not directory:
        return
    names = tuple(os.path.basename(path) for path in kept)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            if name not in names and not name.startswith(tuple(f"{each}." for each in names)):
                os.unlink(f"{directory}/{name}")
