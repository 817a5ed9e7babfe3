"""The images of one pod's containers and image volumes: a pull runs beside its worker, which is woken at the end."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wherry.api import errors, meta
from wherry.images.protocol import Image, ImageError
from wherry.images.reference import parse
from wherry.kubelet.podspec import Container
from wherry.kubelet.pulling import NotReady
from wherry.kubelet.starting import ContainerStarter
from wherry.kubelet.status import Waiting
from wherry.kubelet.volumes.image import mounted
from wherry.util.tasks import Scope, cancel

SHOW_ERROR = 2.0
"""How long ErrImagePull shows before ImagePullBackOff takes its place, in seconds."""


@dataclass(frozen=True, slots=True)
class Images:
    """What a container starts from: its own image, and by volume those of the image volumes that it mounts."""

    own: Image
    volumes: Mapping[str, Image] = field(default_factory=dict)


def wants(pod: meta.Object, container: Container, image: Image) -> bool:
    """Tell whether an image has a name that a container, or an image volume that it mounts, calls for."""
    names = (*image.tags, *image.digests)
    for _, wanted in (("", container), *mounted(pod, container)):
        with contextlib.suppress(ImageError):
            if str(parse(wanted["image"])) in names:
                return True
    return False


class PodPulls:
    """Fetches images in `scope`, one pull at a time for a container; `wake` is called at the end of each."""

    def __init__(self, starter: ContainerStarter, scope: Scope, wake: Callable[[], None]) -> None:
        self._starter = starter
        self._scope = scope
        self._wake = wake
        self._tasks: dict[tuple[str, str], asyncio.Task[Image | NotReady | None]] = {}
        self._pulled: dict[tuple[str, str], Image] = {}

    async def images(self, pod: meta.Object, container: Container) -> Images | None:
        """Return a container's images, None while one is fetched. Raises NotReady."""
        name = container["name"]
        found: dict[str, Image] = {}
        for volume, wanted in (("", container), *mounted(pod, container)):
            image = await self._image(pod, (name, volume), wanted)
            if image is None:
                return None
            found[volume] = image
        for volume in found:
            self._pulled.pop((name, volume), None)
        return Images(found.pop(""), found)

    async def _image(self, pod: meta.Object, key: tuple[str, str], wanted: Container) -> Image | None:
        if (pulled := self._pulled.get(key)) is not None:
            return pulled
        if key not in self._tasks:
            if (image := await self._starter.image(pod, wanted)) is not None:
                self._pulled[key] = image
                return image
            self._tasks[key] = self._scope.spawn(self._pull(pod, wanted), name=f"pull {wanted['image']}", guard=True)
            return None
        if not self._tasks[key].done():
            return None
        result = self._tasks.pop(key).result()
        if isinstance(result, NotReady):
            # Meanwhile it may have been loaded or built.
            if (image := await self._starter.image(pod, wanted)) is not None:
                self._pulled[key] = image
                return image
            raise result
        if result is not None:
            self._pulled[key] = result
        return result

    async def cancel(self) -> None:
        """End all pulls."""
        await cancel(*self._tasks.values())
        self._tasks.clear()
        self._pulled.clear()

    async def _pull(self, pod: meta.Object, wanted: Container) -> Image | NotReady | None:
        try:
            return await self._starter.pull(pod, wanted)
        except NotReady as error:
            return error
        except (errors.StatusError, OSError) as error:
            return NotReady(Waiting("ErrImagePull", str(error)), SHOW_ERROR)
        finally:
            self._wake()
