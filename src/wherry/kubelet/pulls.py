"""The images of one pod's containers: a pull runs beside its worker, which is woken at the end."""

import asyncio
from collections.abc import Callable

from wherry.api import errors, meta
from wherry.images.protocol import Image
from wherry.kubelet.podspec import Container
from wherry.kubelet.pulling import NotReady
from wherry.kubelet.starting import ContainerStarter
from wherry.kubelet.status import Waiting
from wherry.util.tasks import Scope, cancel

SHOW_ERROR = 2.0
"""How long ErrImagePull shows before ImagePullBackOff takes its place, in seconds."""


class PodPulls:
    """Fetches images in `scope`, one pull at a time for a container; `wake` is called at the end of each."""

    def __init__(self, starter: ContainerStarter, scope: Scope, wake: Callable[[], None]) -> None:
        self._starter = starter
        self._scope = scope
        self._wake = wake
        self._tasks: dict[str, asyncio.Task[Image | NotReady | None]] = {}

    async def image(self, pod: meta.Object, container: Container) -> Image | None:
        """Return a container's image, None while it is fetched. Raises NotReady."""
        name = container["name"]
        if name not in self._tasks:
            if (image := await self._starter.image(pod, container)) is not None:
                return image
            self._tasks[name] = self._scope.spawn(
                self._pull(pod, container), name=f"pull {container['image']}", guard=True
            )
            return None
        if not self._tasks[name].done():
            return None
        result = self._tasks.pop(name).result()
        if isinstance(result, NotReady):
            raise result
        return result

    async def cancel(self) -> None:
        """End all pulls."""
        await cancel(*self._tasks.values())
        self._tasks.clear()

    async def _pull(self, pod: meta.Object, container: Container) -> Image | NotReady | None:
        try:
            return await self._starter.pull(pod, container)
        except NotReady as error:
            return error
        except (errors.StatusError, OSError) as error:
            return NotReady(Waiting("ErrImagePull", str(error)), SHOW_ERROR)
        finally:
            self._wake()
