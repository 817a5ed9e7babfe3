"""configMap volumes."""

import asyncio
from pathlib import Path

from wherry.api import meta
from wherry.api.resources import CONFIGMAPS
from wherry.kubelet.volumes import atomic, payload
from wherry.kubelet.volumes.plugin import Context, Volume


class ConfigMapVolume:
    """The keys of a ConfigMap as files, which follow it."""

    source = "configMap"
    dynamic = True

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Write the files. Raises VolumeError when the ConfigMap or a key is missing and not optional."""
        source = volume[self.source]
        found = await context.lookup(CONFIGMAPS, source.get("name") or "")
        files = payload.of_config_map(
            found, source, namespace=meta.namespace(context.pod), mode=payload.default_mode(source)
        )
        path = context.directory("configmap", volume["name"])
        await asyncio.to_thread(atomic.write, Path(path), files, group=context.fs_group)
        return path
