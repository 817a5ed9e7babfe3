"""Static pods: started from the manifests of a directory, with a mirror in the API for each.

Watches: the directory, the mirrors of this node. Writes: workers and mirrors. It promises that a static pod runs while
its file says so, whatever happens to its mirror; that a changed file ends the pod before the new one starts; and that a
mirror shows the pod that runs and goes with it.
"""

import asyncio
import logging
from collections.abc import Callable

from wherry.api import errors, meta
from wherry.api.resources import PODS
from wherry.client.client import Client
from wherry.client.informer import SharedInformer
from wherry.kubelet import inotify, podspec
from wherry.kubelet.manifests import Manifests
from wherry.kubelet.pods import PodManager
from wherry.util.backoff import Backoff
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_LOOK_AGAIN = 20.0
_CHANGES = inotify.CLOSE_WRITE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.DELETE


class StaticPods:
    """Keeps the workers of static pods and their mirrors; `node` returns the Node, None while it is not known."""

    def __init__(
        self,
        manifests: Manifests,
        *,
        client: Client,
        manager: PodManager,
        informer: SharedInformer,
        scope: Scope,
        node: Callable[[], meta.Object | None],
    ) -> None:
        self._manifests = manifests
        self._client = client
        self._manager = manager
        self._informer = informer
        self._scope = scope
        self._node = node
        self._running: dict[str, meta.Object] = {}
        self._ending: set[str] = set()
        self._changed = asyncio.Event()
        self._shown = False

    async def start(self) -> None:
        """Start what the directory holds now. It needs no API server."""
        await asyncio.to_thread(self._manifests.directory.mkdir, parents=True, exist_ok=True)
        await self._follow_directory()

    def show(self) -> None:
        """Keep mirrors from now on; call it once the informer is synced."""
        self._informer.add_handler(
            on_add=self._mirror_changed,
            on_update=lambda old, new: self._mirror_changed(new),
            on_delete=self._mirror_changed,
        )
        self._shown = True
        for mirror in self._informer.lister.list():
            self._mirror_changed(mirror)
        self._changed.set()

    async def run(self) -> None:
        """Follow the directory, and the mirrors when they are to be shown, until cancelled."""
        self._scope.spawn(self._watch_directory(), name="static pod manifests")
        backoff = Backoff(1.0, 20.0)
        delay = None
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), delay)
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self._follow_directory()
                if self._shown:
                    await self._follow_mirrors()
                backoff.reset()
                delay = None
            except (errors.StatusError, OSError, TimeoutError) as error:
                delay = backoff.next()
                log.warning("static pods: %s; trying again in %.1fs", error, delay)

    async def _watch_directory(self) -> None:
        with inotify.watching(str(self._manifests.directory), _CHANGES) as watch:
            self._changed.set()
            while True:
                await watch.wait(_LOOK_AGAIN)
                self._changed.set()

    async def _follow_directory(self) -> None:
        wanted = await asyncio.to_thread(self._manifests.read)
        for key, pod in list(self._running.items()):
            if key not in self._ending and meta.uid(wanted.get(key) or {"metadata": {}}) != meta.uid(pod):
                self._ending.add(key)
                self._scope.spawn(self._end(key, pod), name=f"end of static pod {key}")
        for key, pod in wanted.items():
            if key not in self._running:
                self._running[key] = pod
                self._manager.add(self._with_status(pod))

    async def _end(self, key: str, pod: meta.Object) -> None:
        await self._manager.end(meta.uid(pod))
        self._ending.discard(key)
        del self._running[key]
        self._changed.set()

    # Mirrors.

    def _mirror_changed(self, mirror: meta.Object) -> None:
        if not podspec.is_mirror(mirror):
            return
        key = meta.key_of(mirror)
        if (pod := self._running.get(key)) is not None and key not in self._ending:
            self._manager.update(self._with_status(pod))
        self._changed.set()

    def _mirror(self, pod: meta.Object) -> meta.Object | None:
        """Return the mirror of exactly this static pod."""
        found = self._informer.lister.get(meta.key_of(pod))
        same = found is not None and meta.annotations(found).get(podspec.CONFIG_MIRROR) == meta.uid(pod)
        return found if same else None

    def _with_status(self, pod: meta.Object) -> meta.Object:
        """Return a static pod with the status that the API has of it, as workers expect of any pod."""
        mirror = self._mirror(pod)
        return {**pod, "status": mirror["status"]} if mirror is not None and mirror.get("status") else pod

    async def _follow_mirrors(self) -> None:
        for found in self._informer.lister.list():
            if podspec.is_mirror(found):
                pod = self._running.get(meta.key_of(found))
                if pod is None or self._mirror(pod) is None or meta.is_deleting(found):
                    await self._delete_mirror(found)
        for key, pod in self._running.items():
            if key not in self._ending and self._informer.lister.get(key) is None:
                await self._create_mirror(pod)

    async def _create_mirror(self, pod: meta.Object) -> None:
        node = self._node()
        if node is None:
            raise OSError("the node is not registered yet")
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": meta.name(node),
            "uid": meta.uid(node),
            "controller": True,
        }
        metadata = {k: v for k, v in pod["metadata"].items() if k in ("name", "namespace", "labels", "finalizers")}
        metadata["annotations"] = {**meta.annotations(pod), podspec.CONFIG_MIRROR: meta.uid(pod)}
        metadata["ownerReferences"] = [owner]
        try:
            await self._client.create(PODS, {**pod, "metadata": metadata})
        except errors.AlreadyExists:
            log.info("the mirror of static pod %s is there already", meta.key_of(pod))

    async def _delete_mirror(self, mirror: meta.Object) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid(mirror)}}
        try:
            await self._client.delete(PODS, meta.name(mirror), meta.namespace(mirror), options=options)
        except (errors.NotFound, errors.Conflict):
            log.info("the mirror %s is gone already", meta.key_of(mirror))
