"""Image garbage collection: when the disk is fuller than a threshold, images that nobody uses go, oldest use first."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from wherry.api import meta
from wherry.client.events import WARNING, EventRecorder
from wherry.images.protocol import Image, ImageError, ImageStore
from wherry.kubelet import podspec
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.machine import Disk, Machine
from wherry.util import clock

log = logging.getLogger(__name__)

_PERIOD = 300.0


class ImageCollector:
    """Collects every five minutes; `pods` returns the node's pods, whose images stay."""

    def __init__(
        self,
        config: KubeletConfig,
        store: ImageStore,
        pods: Callable[[], list[meta.Object]],
        recorder: EventRecorder,
        node: Callable[[], meta.Object],
        *,
        disk: Callable[[], Disk] | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._pods = pods
        self._recorder = recorder
        self._node = node
        self._disk = disk or (lambda: Machine().disk(config.root))
        self._used: dict[str, float] = {}

    async def run(self) -> None:
        """Collect until cancelled."""
        failed = False
        while True:
            await clock.sleep(_PERIOD)
            try:
                await self.collect()
                failed = False
            except (ImageError, OSError) as error:
                log.warning("image garbage collection: %s", error)
                if failed:  # once may be chance
                    self._recorder.event(self._node(), WARNING, "ImageGCFailed", str(error))
                failed = True

    async def collect(self, *, everything: bool = False) -> int:
        """Free space when the disk is above the high threshold, with `everything` all that nobody uses.

        Returns the bytes freed.
        """
        images = await self._store.list()
        in_use = await self._in_use()
        now = clock.monotonic()
        for image in images:
            if image.id in in_use or image.id not in self._used:
                self._used[image.id] = now
        if self._config.image_maximum_age:
            await self._free_old(images, in_use, now)
        if everything:
            return await self._free(images, in_use, sum(image.size for image in images), now)
        disk = await asyncio.to_thread(self._disk)
        used = 100 * (disk.total - disk.available) // max(disk.total, 1)
        if used < self._config.image_gc_high_percent:
            return 0
        wanted = disk.total * (100 - self._config.image_gc_low_percent) // 100 - disk.available
        freed = await self._free(images, in_use, wanted, now)
        if freed < wanted:
            text = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
                f"but only found {freed} bytes eligible to free."
            )
            self._recorder.event(self._node(), WARNING, "FreeDiskSpaceFailed", text)
        return freed

    async def _free_old(self, images: Sequence[Image], in_use: set[str], now: float) -> None:
        """Remove the images that nobody has used for longer than ``imageMaximumGCAge``."""
        old = [i for i in images if i.id in self._used and now - self._used[i.id] > self._config.image_maximum_age]
        await self._free(old, in_use, sum(image.size for image in old), now)

    async def _in_use(self) -> set[str]:
        references = {c["image"] for pod in self._pods() for _, c in podspec.every_container(pod)}
        volumes = [v for pod in self._pods() for v in pod["spec"].get("volumes") or ()]
        references |= {v["image"].get("reference") or "" for v in volumes if v.get("image")}
        found = await asyncio.gather(*(self._find(reference) for reference in references))
        return {image.id for image in found if image is not None}

    async def _find(self, reference: str) -> Image | None:
        try:
            return await self._store.find(reference)
        except ImageError:
            return None

    async def _free(self, images: Sequence[Image], in_use: set[str], wanted: int, now: float) -> int:
        freed = 0
        for image in sorted((i for i in images if i.id in self._used), key=lambda i: self._used[i.id]):
            if freed >= wanted:
                break
            if image.id in in_use or now - self._used[image.id] < self._config.image_minimum_age:
                continue
            try:
                for reference in image.tags or (image.id,):
                    await self._store.remove(reference)
            except ImageError as error:
                log.info("image %s stays: %s", image.id, error)
                continue
            freed += image.size
            self._used.pop(image.id, None)
        return freed
