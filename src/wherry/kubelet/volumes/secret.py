"""secret volumes, in memory."""

import asyncio
from pathlib import Path

from wherry.api import meta
from wherry.api.resources import SECRETS
from wherry.kubelet.volumes import atomic, payload
from wherry.kubelet.volumes.plugin import Context, Volume


class SecretVolume:
    """The keys of a Secret as files, which follow it."""

    source = "secret"
    dynamic = True

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Write the files. Raises VolumeError when the Secret or a key is missing and not optional."""
        source = volume[self.source]
        found = await context.lookup(SECRETS, source.get("secretName") or "")
        files = payload.of_secret(
            found, source, namespace=meta.namespace(context.pod), mode=payload.default_mode(source)
        )
        path = context.memory_directory("secret", volume["name"])
        await asyncio.to_thread(atomic.write, Path(path), files, group=context.fs_group)
        return path
