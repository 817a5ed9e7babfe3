"""A pod's volumes as a whole: setting all up, following changes, tearing down."""

import asyncio
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from wherry.api import errors
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.events import PodEvents
from wherry.kubelet.volumes.downwardapi import DownwardAPIVolume
from wherry.kubelet.volumes.emptydir import EmptyDirVolume
from wherry.kubelet.volumes.hostpath import HostPathVolume
from wherry.kubelet.volumes.image import SOURCE as IMAGE
from wherry.kubelet.volumes.keys import CONFIG_MAP, SECRET
from wherry.kubelet.volumes.nfs import NFSVolume
from wherry.kubelet.volumes.persistentvolumeclaim import EphemeralVolume, PersistentVolumeClaimVolume
from wherry.kubelet.volumes.plugin import Context, Volume, VolumeError, VolumePlugin
from wherry.kubelet.volumes.projected import ProjectedVolume
from wherry.kubelet.words import said
from wherry.util import linux

PLUGINS: Sequence[VolumePlugin] = (
    CONFIG_MAP,
    DownwardAPIVolume(),
    EmptyDirVolume(),
    EphemeralVolume(),
    HostPathVolume(),
    NFSVolume(),
    PersistentVolumeClaimVolume(),
    ProjectedVolume(),
    SECRET,
)


class MountFailed(Exception):
    """Volumes that are not ready, each with its FailedMount event recorded."""


class VolumeManager:
    """Sets volumes up with the plugin of their type."""

    def __init__(self, config: KubeletConfig, events: PodEvents, *, plugins: Sequence[VolumePlugin] = PLUGINS) -> None:
        self._config = config
        self._events = events
        self._plugins = {plugin.source: plugin for plugin in plugins}

    async def set_up(self, context: Context) -> dict[str, str]:
        """Set up every volume but those of images at once and return their host paths by name.

        Raises MountFailed when one fails; it has then been reported.
        """
        volumes = [v for v in context.pod["spec"].get("volumes") or () if IMAGE not in v]
        results = await asyncio.gather(*(self._one(v, context) for v in volumes), return_exceptions=True)
        failed = []
        for volume, result in zip(volumes, results, strict=True):
            if isinstance(result, BaseException):
                if not isinstance(result, VolumeError | errors.StatusError | OSError):
                    raise result
                text = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {said(result)}'
                self._events.warning(context.pod, "FailedMount", text)
                failed.append(volume["name"])
        if failed:
            raise MountFailed(", ".join(failed))
        return {v["name"]: str(path) for v, path in zip(volumes, results, strict=True)}

    async def refresh(self, context: Context) -> None:
        """Bring the volumes that follow objects up to date; one that fails keeps what it has."""
        volumes = [v for v in context.pod["spec"].get("volumes") or () if IMAGE not in v]
        dynamic = [v for v in volumes if self._plugin(v).dynamic]
        results = await asyncio.gather(*(self._one(v, context) for v in dynamic), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, VolumeError | errors.StatusError | OSError):
                raise result

    async def _one(self, volume: Volume, context: Context) -> str:
        return await self._plugin(volume).set_up(volume, context)

    def _plugin(self, volume: Volume) -> VolumePlugin:
        for source in volume:
            if source in self._plugins:
                return self._plugins[source]
        if set(volume) == {"name"}:
            return self._plugins["emptyDir"]
        raise VolumeError("no volume plugin matched")

    async def tear_down(self, uid: str) -> None:
        """Unmount and delete all that a pod has on this host. Raises OSError when a mount cannot be removed."""
        await asyncio.to_thread(remove_tree, self._config.pod_run_directory(uid))
        await asyncio.to_thread(remove_tree, self._config.pod_directory(uid))

    def left_over(self) -> set[str]:
        """Return the UIDs of pods that have a directory. Blocks."""
        found: set[str] = set()
        for root in (self._config.root / "pods", self._config.run / "pods"):
            if root.is_dir():
                found.update(entry.name for entry in root.iterdir())
        return found


def remove_tree(path: Path) -> None:
    """Unmount what is mounted below `path`, then delete it; never reaches into another filesystem. Blocks."""
    if not path.exists():
        return
    for mount in reversed(mounts_below(str(path))):
        linux.umount(mount, linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
    device = os.lstat(path).st_dev
    for directory, names, _ in os.walk(path):
        for name in names:
            found = os.lstat(os.path.join(directory, name))
            if stat.S_ISDIR(found.st_mode) and found.st_dev != device:
                raise OSError(f"{directory}/{name} is still mounted")
    shutil.rmtree(path)


def mounts_below(path: str) -> list[str]:
    """Return the mount points below `path` in the order they were mounted. Blocks."""
    prefix = path.rstrip("/") + "/"
    with open("/proc/self/mountinfo") as file:
        points = [line.split(" ", 5)[4].encode().decode("unicode_escape") for line in file]
    return [point for point in points if point.startswith(prefix)]
