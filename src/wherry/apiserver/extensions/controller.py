"""Follows the CustomResourceDefinitions: accepts names, serves versions, writes conditions, cleans up after deletion.

It is told of every write of a definition in the write itself (`wherry.apiserver.strategies.hooks`), so that clients
find served what they were told exists. Deleting a definition's objects happens beside the requests.
"""

import asyncio
import logging
from types import TracebackType
from typing import Any

from wherry.api import meta
from wherry.api.errors import Conflict, NotFound, StatusError
from wherry.api.meta import Object
from wherry.api.openapi import Documents
from wherry.api.resources import CUSTOMRESOURCEDEFINITIONS, Resource
from wherry.apiserver.api import Api
from wherry.apiserver.extensions import names
from wherry.apiserver.extensions.serving import Serving
from wherry.apiserver.strategies.hooks import Hook
from wherry.apiserver.webhookclient import WebhookClient
from wherry.client.client import Client
from wherry.store.protocol import Mismatch, Record
from wherry.util import clock
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_LOOK_AGAIN = 1.0


class Extensions:
    """``async with Extensions(...)``: what is defined is served while the block runs.

    `client` writes the status of definitions and deletes objects, as the API server itself.
    """

    def __init__(self, api: Api, documents: Documents, client: Client) -> None:
        self._api = api
        self._client = client
        self._webhooks = WebhookClient(api.registry)
        self._serving = Serving(api, documents, self._webhooks)
        self._scope = Scope()
        self._cleaning: set[str] = set()
        self._deciding = asyncio.Lock()
        self._decider: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> "Extensions":
        await self._scope.__aenter__()
        self._api.hooks.register(CUSTOMRESOURCEDEFINITIONS, Hook(after=self._written))
        for definition in list(self._api.registry.list(CUSTOMRESOURCEDEFINITIONS)):
            await self._reconcile(meta.name(definition))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._scope.__aexit__(kind, error, traceback)
        await self._webhooks.close()

    async def _written(self, new: Object | None, old: Object | None) -> None:
        if asyncio.current_task() is self._decider:
            return  # a status that was written here
        if new is not None:
            await self._reconcile(meta.name(new))
        elif old is not None:
            self._serving.stop(meta.name(old))
            await self._recheck(old["spec"]["group"])

    async def _recheck(self, group: str) -> None:
        """Names became free: others may have waited for them."""
        for definition in list(self._api.registry.list(CUSTOMRESOURCEDEFINITIONS)):
            if definition["spec"]["group"] == group and not meta.is_true(definition, names.ACCEPTED):
                await self._reconcile(meta.name(definition))

    async def _reconcile(self, name: str) -> None:
        """Bring one definition to where it should be; one after the other, since they compete for names."""
        async with self._deciding:
            self._decider = asyncio.current_task()
            try:
                await self._decide(name)
            finally:
                self._decider = None

    async def _decide(self, name: str) -> None:
        definition = self._read(name)
        if definition is None:
            return
        if meta.is_deleting(definition):
            self._end(definition)
            return
        others = [o for o in self._api.registry.list(CUSTOMRESOURCEDEFINITIONS) if meta.name(o) != name]
        status = names.new_status(definition, others, now=clock.timestamp())
        if meta.is_true({"status": status}, names.ESTABLISHED):
            self._serving.serve(definition, terminating=False)
        if status != definition.get("status"):
            await self._write_status(definition, status)

    def _read(self, name: str) -> Object | None:
        registry = self._api.registry
        record = registry.store.latest(registry.key(CUSTOMRESOURCEDEFINITIONS, None, name))
        return None if record is None else registry.obj(record)

    async def _write_status(self, definition: Object, status: Object) -> None:
        """Write a status; when another writer was first, its write brings the definition here again."""
        try:
            await self._client.update_status(CUSTOMRESOURCEDEFINITIONS, {**definition, "status": status})
        except (Conflict, NotFound):
            log.debug("the definition %s changed meanwhile", meta.name(definition))
        except StatusError as error:
            log.warning("cannot write the status of the definition %s: %s", meta.name(definition), error)

    def _end(self, definition: Object) -> None:
        name = meta.name(definition)
        if meta.is_true(definition, names.ESTABLISHED):
            self._serving.serve(definition, terminating=True)
        if names.FINALIZER in (definition["metadata"].get("finalizers") or ()) and name not in self._cleaning:
            self._cleaning.add(name)
            self._scope.spawn(self._clean(name), name=f"cleanup of {name}", guard=True)

    async def _clean(self, name: str) -> None:
        """Delete all objects of a definition, wait until they are gone, and let the definition go."""
        try:
            stored = self._serving.stored(name)
            if stored is not None and self._instances(stored):
                await self._tell(name, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
                await self._delete_all(stored)
            await self._tell(name, "False", "InstanceDeletionCompleted", "removed all instances")
            await self._let_go(name)
        finally:
            self._cleaning.discard(name)

    def _instances(self, stored: Resource) -> list[Record]:
        registry = self._api.registry
        return list(registry.store.list(registry.prefix(stored)).records)

    async def _delete_all(self, stored: Resource) -> None:
        while found := self._instances(stored):
            served = next((r for r in self._api.registry.table if _same(r, stored)), None)
            for record in found:
                try:
                    await self._delete(record, served, stored)
                except (NotFound, Mismatch):
                    continue
                except StatusError as error:
                    log.warning("cannot delete %s: %s", record.key, error)
            if self._instances(stored):
                await clock.sleep(_LOOK_AGAIN)

    async def _delete(self, record: Record, served: Resource | None, stored: Resource) -> None:
        """Delete an object; without a served version there is nobody who could wait for its finalizers."""
        obj = self._api.registry.obj(record)
        namespace, name = obj["metadata"].get("namespace"), meta.name(obj)
        if served is not None:
            if not meta.is_deleting(obj):
                await self._client.delete(served, name, namespace)
            return
        last = {**obj, "metadata": dict(obj["metadata"])}
        await self._api.registry.write(
            stored, last, namespace=namespace, name=name, expected=record.revision, delete=True
        )

    async def _tell(self, name: str, status: str, reason: str, message: str) -> None:
        definition = self._read(name)
        if definition is not None:
            new = names.terminating(definition, status, reason, message, now=clock.timestamp())
            if new != definition.get("status"):
                await self._write_status(definition, new)

    async def _let_go(self, name: str) -> None:
        """Take the finalizer away, by a write of the status: what is wrong with the definition does not hold it."""
        while (definition := self._read(name)) is not None:
            metadata: dict[str, Any] = dict(definition["metadata"])
            metadata["finalizers"] = [f for f in metadata.get("finalizers") or () if f != names.FINALIZER]
            try:
                await self._client.update_status(CUSTOMRESOURCEDEFINITIONS, {**definition, "metadata": metadata})
                return
            except Conflict:
                continue
            except NotFound:
                return


def _same(one: Resource, other: Resource) -> bool:
    return (one.group, one.plural) == (other.group, other.plural)
