"""The pods of this node: a worker for each, told of changes; and what earlier pods left is removed."""

import asyncio
import logging

from wherry.api import meta
from wherry.client.informer import SharedInformer
from wherry.images.protocol import Image
from wherry.kubelet import cgroups, labels, podlogs, podspec, sandboxes
from wherry.kubelet.services import NodeServices
from wherry.kubelet.starting import VOLUME_ROOT
from wherry.kubelet.together import together
from wherry.kubelet.worker import PodWorker
from wherry.runtime.protocol import RUNNING, ContainerError
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)


class PodManager:
    """Starts a worker for each pod that the API binds to this node and routes events to it.

    A worker lives until its pod's object is gone and nothing of the pod is left, whichever comes last.
    """

    def __init__(self, services: NodeServices, informer: SharedInformer, scope: Scope) -> None:
        self._services = services
        self.informer = informer
        self._scope = scope
        self._workers: dict[str, PodWorker] = {}
        services.cache.on_change = self._wake
        services.objects.on_change = self._objects_changed
        services.others = self.others
        services.images.on_named = self._image_named

    def start(self) -> None:
        """Follow the informer; call it after the runtime's state is loaded."""
        self.informer.add_handler(on_add=self.add, on_update=lambda old, new: self.update(new), on_delete=self._deleted)

    def add(self, pod: meta.Object) -> None:
        """Take a pod; a mirror of a static pod has its worker already."""
        uid = meta.uid(pod)
        if podspec.is_mirror(pod):
            return
        if uid in self._workers:
            self._workers[uid].update(pod)
            return
        worker = self._workers[uid] = PodWorker(pod, self._services, self._scope)
        self._scope.spawn(worker.run(), name=f"pod {meta.key_of(pod)}", guard=True)

    def update(self, pod: meta.Object) -> None:
        """Take a newer state of a pod."""
        worker = self._workers.get(meta.uid(pod))
        if worker is None:
            self.add(pod)
        elif not worker.done.is_set():
            worker.update(pod)

    def _deleted(self, pod: meta.Object) -> None:
        worker = self._workers.pop(meta.uid(pod), None)
        if worker is not None and not worker.done.is_set():
            worker.remove(pod)

    async def end(self, uid: str) -> None:
        """End a static pod within its grace period; return when nothing is left of it."""
        worker = self._workers.get(uid)
        if worker is None:
            return
        grace = int(podspec.grace_period(worker.pod))
        metadata = {"deletionTimestamp": clock.timestamp(), "deletionGracePeriodSeconds": grace}
        worker.update({**worker.pod, "metadata": {**worker.pod["metadata"], **metadata}})
        await worker.done.wait()
        self._workers.pop(uid, None)

    def worker(self, uid: str) -> PodWorker | None:
        """Return the worker of a pod."""
        return self._workers.get(uid)

    def pods(self) -> list[meta.Object]:
        """Return the pods of this node."""
        return [worker.pod for worker in self._workers.values()]

    def find(self, namespace: str, name: str, uid: str = "") -> meta.Object | None:
        """Return a pod by name, and UID where one is given."""
        for pod in self.pods():
            if meta.namespace(pod) == namespace and meta.name(pod) == name and uid in ("", meta.uid(pod)):
                return pod
        return None

    def others(self, pod: meta.Object) -> list[meta.Object]:
        """Return the other pods that have not ended."""
        return [p for p in self.pods() if meta.uid(p) != meta.uid(pod) and not podspec.is_terminal(p)]

    def wake(self) -> None:
        """Have every worker look at its pod."""
        for worker in self._workers.values():
            worker.wake()

    def _wake(self, uid: str) -> None:
        if worker := self._workers.get(uid):
            worker.wake()

    def _objects_changed(self, uid: str) -> None:
        if worker := self._workers.get(uid):
            worker.objects_changed()

    def _image_named(self, image: Image) -> None:
        for worker in self._workers.values():
            worker.image_named(image)

    async def remove_unclaimed(self) -> None:
        """Remove roots and addresses that an earlier process made and died before it could use them.

        Call it when the runtime's state is loaded and before `start`.
        """
        services = self._services
        pods = [services.cache.pod(uid) for uid in services.cache.uids()]
        containers = {container_id for pod in pods for container_id in pod.containers}
        for key in set(await services.images.roots()) - containers:
            if not key.startswith(VOLUME_ROOT):
                await services.images.unmount(key)
        sandbox_ids = {sandbox_id for pod in pods for sandbox_id in pod.sandboxes}
        for attachment in list(services.network.attachments()):
            if attachment.sandbox_id not in sandbox_ids:
                await services.network.detach(attachment.sandbox_id)

    async def remove_orphans(self) -> None:
        """Remove what is left of pods that the API forgot while this process was down; call it once synced."""
        left = await asyncio.to_thread(self._services.volumes.left_over)
        known = {meta.uid(pod) for pod in self.informer.lister.list()}
        for key in await self._services.images.roots():
            if key.startswith(VOLUME_ROOT) and not any(key.startswith(f"{VOLUME_ROOT}{uid}-") for uid in known):
                await self._services.images.unmount(key)
        orphans = (left | set(self._services.cache.uids())) - known - set(self._workers)
        await asyncio.gather(*(self._remove_orphan(uid) for uid in orphans))

    async def _remove_orphan(self, uid: str) -> None:
        backoff = Backoff(1.0, 60.0)
        services = self._services
        while True:
            try:
                running = [c for c in services.cache.pod(uid).containers.values() if c.state == RUNNING]
                grace = max((float(c.labels.get(labels.POD_GRACE) or 30) for c in running), default=0.0)
                await together(*(services.runtime.stop_container(c.id, grace) for c in running))
                await sandboxes.remove(uid, services)
                await services.volumes.tear_down(uid)
                await asyncio.to_thread(podlogs.remove_all, services.config.log_root, [uid])
                if services.cgroups is not None:
                    await asyncio.to_thread(cgroups.remove, uid, services.config, services.cgroups)
                log.info("removed what was left of pod %s", uid)
                return
            except (ContainerError, OSError) as error:
                log.warning("cannot remove what is left of pod %s: %s", uid, error)
                await clock.sleep(backoff.next())
