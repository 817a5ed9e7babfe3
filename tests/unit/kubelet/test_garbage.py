"""Which images go when the disk fills, and what is said when that is not enough."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unit.kubelet.fakes import FakeImageStore, make_pod
from wherry.client.client import Client
from wherry.client.events import EventRecorder
from wherry.client.fake import FakeTransport
from wherry.images.protocol import Image
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.garbage import ImageCollector
from wherry.kubelet.machine import Disk
from wherry.util import clock, virtualtime


class _Store(FakeImageStore):
    async def remove(self, reference: str) -> None:
        self.local.pop(reference, None)


class _Recorder(EventRecorder):
    def __init__(self) -> None:
        super().__init__(Client(FakeTransport()), "kubelet", "n")
        self.said: list[tuple[str, str]] = []

    def event(self, regarding: Any, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        self.said.append((reason, message))


class _Scene:
    """A disk of 1000 bytes, images of 100, a pod that uses one of them."""

    def __init__(self, **settings: Any) -> None:
        self.store, self.recorder, self.free = _Store(), _Recorder(), 1000
        self.config = replace(KubeletConfig(node_name="n", root=Path("/r"), run=Path("/run/r")), **settings)
        pods = [make_pod()]
        pods[0]["spec"]["containers"][0]["image"] = "used:1"
        self.collector = ImageCollector(
            self.config, self.store, lambda: pods, self.recorder, dict, disk=lambda: Disk(1000, self.free, 10, 10)
        )

    def add(self, reference: str) -> Image:
        return self.store.add(reference)

    def left(self) -> list[str]:
        return sorted(self.store.local)


def test_above_the_high_threshold_unused_images_go_down_to_the_low_one_the_longest_unused_first() -> None:
    async def main() -> None:
        scene = _Scene()
        for name in ("used:1", "old:1"):
            scene.add(name)
        await scene.collector.collect()
        await clock.sleep(60)
        scene.add("new:1")
        await scene.collector.collect()
        await clock.sleep(121)
        scene.free = 151  # used: 84 %
        assert await scene.collector.collect() == 0
        scene.free = 150  # used: 85 %; 80 % need 50 bytes more, which one image has
        assert await scene.collector.collect() == 1000
        assert scene.left() == ["new:1", "used:1"]
        assert not scene.recorder.said

    virtualtime.run(main())


def test_images_that_are_young_or_in_use_stay_and_an_event_says_what_is_missing() -> None:
    async def main() -> None:
        scene = _Scene()
        scene.add("used:1")
        scene.add("young:1")
        await scene.collector.collect()
        await clock.sleep(119)
        scene.free = 100
        assert await scene.collector.collect() == 0
        assert scene.left() == ["used:1", "young:1"]
        assert scene.recorder.said == [
            (
                "FreeDiskSpaceFailed",
                "Failed to garbage collect required amount of images. Attempted to free 100 bytes, "
                "but only found 0 bytes eligible to free.",
            )
        ]

    virtualtime.run(main())


def test_an_image_that_nobody_used_for_the_maximum_age_goes_whatever_the_disk() -> None:
    async def main() -> None:
        scene = _Scene(image_maximum_age=3600.0)
        scene.add("used:1")
        scene.add("old:1")
        for _ in range(2):
            await scene.collector.collect()
            assert scene.left() == ["old:1", "used:1"]
            await clock.sleep(1801)
        await scene.collector.collect()
        assert scene.left() == ["used:1"]

    virtualtime.run(main())
