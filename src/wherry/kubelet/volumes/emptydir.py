"""emptyDir volumes: a directory on disk, or a tmpfs."""

import asyncio
import os
from typing import Any

from wherry.api import quantity
from wherry.kubelet import resources
from wherry.kubelet.volumes import ownership
from wherry.kubelet.volumes.plugin import Context, Volume
from wherry.util import linux


class EmptyDirVolume:
    """Lives as long as the pod; with medium Memory (or HugePages) it is a mount of its own."""

    source = "emptyDir"
    dynamic = False

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Make the directory, writable to all."""
        path = context.directory("empty-dir", volume["name"])
        await asyncio.to_thread(_make, path, volume[self.source] or {}, context)
        return path


def _make(path: str, source: dict[str, Any], context: Context) -> None:
    medium = source.get("medium") or ""
    if os.path.isdir(path) and (not medium or linux.is_mount(path)):
        return
    os.makedirs(path, exist_ok=True)
    if medium == "Memory":
        linux.mount("tmpfs", path, kind="tmpfs", data=f"mode=0777{_size(source, context)}")
    elif medium.startswith("HugePages"):
        size = medium.removeprefix("HugePages").lstrip("-").removesuffix("i")
        linux.mount("nodev", path, kind="hugetlbfs", data=f"pagesize={size}" if size else "")
    # mkdir's mode is cut by the umask, this one is not.
    os.chmod(path, 0o777)
    ownership.give(path, context.fs_group)


def _size(source: dict[str, Any], context: Context) -> str:
    """Return the tmpfs option for the least of the volume's limit and the pod's memory."""
    limit = quantity.parse(source.get("sizeLimit") or "0").whole()
    of_pod = resources.pod_level_resources(context.pod).memory_limit or 0
    of_node = resources.memory(context.facts.allocatable)
    bounds = [bound for bound in (limit, of_pod, of_node) if bound]
    return f",size={min(bounds)}" if bounds else ""
