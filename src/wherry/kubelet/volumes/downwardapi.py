"""downwardAPI volumes."""

import asyncio
from pathlib import Path

from wherry.kubelet.volumes import atomic, payload
from wherry.kubelet.volumes.plugin import Context, Volume


class DownwardAPIVolume:
    """Fields of the pod as files, which follow its labels and annotations."""

    source = "downwardAPI"
    dynamic = True

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Write the files. Raises VolumeError for a field that is not supported."""
        source = volume[self.source]
        files = payload.of_pod(context.pod, source.get("items") or [], context.facts, mode=payload.default_mode(source))
        path = context.directory("downward-api", volume["name"])
        await asyncio.to_thread(atomic.write, Path(path), files, group=context.fs_group)
        return path
