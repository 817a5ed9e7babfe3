"""ConfigMaps, Secrets and other objects that pods name: each watched alone, while a pod needs it.

A node may read only what its pods refer to, so there is no informer over all Secrets; each object has its own, shared
by the pods that name it. Claims and their volumes a node may only get: those are read anew each time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from wherry.api import errors, meta
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, Resource
from wherry.client.client import Client
from wherry.client.informer import SharedInformer
from wherry.util.tasks import Scope, cancel

Identity = tuple[Resource, str, str]

_ONLY_GET = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES)


@dataclass(slots=True)
class _Watched:
    informer: SharedInformer
    task: asyncio.Task[None]
    users: set[str] = field(default_factory=set)


class ObjectCache:
    """Reads objects by name for pods; `on_change(uid)` is called for each pod that uses a changed object."""

    def __init__(self, client: Client, scope: Scope) -> None:
        self._client = client
        self._scope = scope
        self._watched: dict[Identity, _Watched] = {}
        self.on_change: Callable[[str], None] = lambda uid: None

    async def get(self, resource: Resource, namespace: str, name: str, *, user: str) -> meta.Object | None:
        """Return an object, None when it does not exist; from now on pod `user` (a UID) hears of its changes.

        Of claims and volumes it does not hear. Raises StatusError and OSError for those.
        """
        if resource in _ONLY_GET:
            try:
                return await self._client.get(resource, name, namespace or None)
            except errors.NotFound:
                return None
        watched = self._watch((resource, namespace, name))
        watched.users.add(user)
        await watched.informer.wait_synced()
        return watched.informer.lister.get(meta.make_key(namespace, name))

    def release(self, user: str) -> list[asyncio.Task[None]]:
        """Stop watching what only pod `user` used; the tasks returned are being cancelled."""
        ended = []
        for identity, watched in list(self._watched.items()):
            watched.users.discard(user)
            if not watched.users:
                del self._watched[identity]
                watched.task.cancel()
                ended.append(watched.task)
        return ended

    async def close(self) -> None:
        """End all watches."""
        await cancel(*(w.task for w in self._watched.values()))
        self._watched.clear()

    def _watch(self, identity: Identity) -> _Watched:
        found = self._watched.get(identity)
        if found is not None:
            return found
        resource, namespace, name = identity
        informer = SharedInformer(
            self._client, resource, namespace=namespace or None, field_selector=f"metadata.name={name}"
        )
        task = self._scope.spawn(informer.run(), name=f"watch {resource.plural} {namespace}/{name}", guard=True)
        watched = self._watched[identity] = _Watched(informer, task)

        def tell(*_: meta.Object) -> None:
            # The first list is the answer to `get`, not a change.
            if informer.synced:
                for uid in list(watched.users):
                    self.on_change(uid)

        informer.add_handler(on_add=tell, on_update=tell, on_delete=tell)
        return watched
