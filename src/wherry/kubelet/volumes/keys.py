"""configMap and secret volumes."""

import asyncio
from pathlib import Path
from typing import Any, Protocol

from wherry.api import meta
from wherry.api.resources import CONFIGMAPS, SECRETS, Resource
from wherry.kubelet.volumes import atomic, payload
from wherry.kubelet.volumes.plugin import Context, Volume


class Files(Protocol):
    """Returns the files of an object; None is one that is not there. Raises VolumeError."""

    def __call__(
        self, obj: meta.Object | None, source: dict[str, Any], *, namespace: str, mode: int
    ) -> dict[str, atomic.File]: ...


class KeysVolume:
    """The keys of an object as files, which follow it. `reference` is the member that names the object."""

    dynamic = True

    def __init__(self, source: str, resource: Resource, *, reference: str, files: Files, in_memory: bool) -> None:
        self.source = source
        self._resource = resource
        self._reference = reference
        self._files = files
        self._in_memory = in_memory

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Write the files. Raises VolumeError when the object or a key is missing and not optional."""
        source = volume[self.source]
        found = await context.lookup(self._resource, source.get(self._reference) or "")
        files = self._files(found, source, namespace=meta.namespace(context.pod), mode=payload.default_mode(source))
        directory = context.memory_directory if self._in_memory else context.directory
        path = directory(self.source.lower(), volume["name"])
        await asyncio.to_thread(atomic.write, Path(path), files, group=context.fs_group)
        return path


CONFIG_MAP = KeysVolume("configMap", CONFIGMAPS, reference="name", files=payload.of_config_map, in_memory=False)
SECRET = KeysVolume("secret", SECRETS, reference="secretName", files=payload.of_secret, in_memory=True)
