"""Rotation of container logs: a log beyond its limit is renamed, compressed later, and the oldest go."""

import asyncio
import gzip
import logging
import os
import shutil
from pathlib import Path

from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.runtime_cache import RuntimeCache
from wherry.runtime.protocol import ContainerError, ContainerStatus, Runtime
from wherry.util import clock

log = logging.getLogger(__name__)

_PERIOD = 10.0


class LogRotator:
    """Looks at the logs of running containers every ten seconds."""

    def __init__(self, config: KubeletConfig, runtime: Runtime, cache: RuntimeCache) -> None:
        self._config = config
        self._runtime = runtime
        self._cache = cache

    async def run(self) -> None:
        """Rotate until cancelled."""
        while True:
            await clock.sleep(_PERIOD)
            for uid in self._cache.uids():
                for container in self._cache.pod(uid).running():
                    await self._look_at(container)

    async def _look_at(self, container: ContainerStatus) -> None:
        path = Path(container.log_path)
        try:
            if not container.log_path or await asyncio.to_thread(os.path.getsize, path) < self._config.log_max_size:
                return
            await self.rotate(container.id, path)
        except FileNotFoundError:
            return
        except (ContainerError, OSError) as error:
            log.warning("cannot rotate %s: %s", path, error)

    async def rotate(self, container_id: str, path: Path) -> None:
        """Rename the log and have the runtime open a new one. Raises ContainerError, OSError."""
        await asyncio.to_thread(self._make_room, path)
        rotated = path.with_name(f"{path.name}.{clock.now().strftime('%Y%m%d-%H%M%S')}")
        await asyncio.to_thread(os.rename, path, rotated)
        try:
            await self._runtime.reopen_log(container_id)
        except ContainerError:
            await asyncio.to_thread(os.rename, rotated, path)
            raise

    def _make_room(self, path: Path) -> None:
        old = rotated_logs(path)
        # All but the newest are compressed: followers may still read that one.
        for file in old:
            if file.suffix != ".gz" and file is not old[-1]:
                compressed = file.with_name(file.name + ".gz")
                with file.open("rb") as source, gzip.open(f"{compressed}.tmp", "wb") as target:
                    shutil.copyfileobj(source, target)
                os.rename(f"{compressed}.tmp", compressed)
                file.unlink()
        # One place is for the log in use, one for the one that is rotated now.
        for file in rotated_logs(path)[: -max(0, self._config.log_max_files - 2) or None]:
            file.unlink()


def rotated_logs(path: Path) -> list[Path]:
    """Return the rotated files of a log, oldest first. Blocks."""
    if not path.parent.is_dir():
        return []
    prefix = path.name + "."
    return sorted(f for f in path.parent.iterdir() if f.name.startswith(prefix) and not f.name.endswith(".tmp"))
