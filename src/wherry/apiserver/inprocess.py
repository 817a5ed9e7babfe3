"""A client transport straight into the handlers: no socket, no encoding; authorization and admission as for anybody.

What an aggregated server serves is asked there, with the client's identity; it is not watched.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from wherry.api.errors import NotFound, ServiceUnavailable
from wherry.api.resources import Resource
from wherry.apiserver import dispatch
from wherry.apiserver.aggregation.remote import Remote, Unavailable
from wherry.apiserver.api import Api
from wherry.apiserver.attributes import Attributes, Authorizer, UserInfo
from wherry.apiserver.authz.messages import forbidden
from wherry.apiserver.request import Answer, Change, Listed, Made, Request, Stored, Watched
from wherry.client.transport import Call, Take, WatchEvent

log = logging.getLogger(__name__)

Object = dict[str, Any]


class InProcessTransport:
    """A `wherry.client.transport.Transport` for one user. What it returns is shared and must not be changed.

    `find_remote` returns the aggregated server of a path, None where there is none.
    Lists and watches give objects without ``managedFields``: informers would hold on to them, and nobody asks.
    """

    def __init__(
        self,
        api: Api,
        authorizer: Authorizer,
        user: UserInfo,
        *,
        user_agent: str = "",
        find_remote: Callable[[str], Remote | None],
    ) -> None:
        self._api = api
        self._find_remote = find_remote
        self._authorizer = authorizer
        self._user = user
        self._user_agent = user_agent or user.name.rpartition(":")[2]

    async def call(self, call: Call) -> Object:
        """Run one call and return what was answered, decoded and shared."""
        answer = await self._answer(call)
        if isinstance(answer, (Stored, Listed)):
            records = [answer.record] if isinstance(answer, Stored) else answer.records
            await self._api.registry.ready(records, answer.resource)
        return self._decoded(answer)

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        """Iterate over the events of a watch."""
        watched = await self._watched(call)
        events = watched.stream()
        try:
            async for changes in events:
                for event in self._events(changes, watched):
                    yield event
        finally:
            await events.aclose()

    async def follow(self, call: Call, take: Take) -> None:
        """Call `take` with the events of a watch in the step in which the store publishes them."""
        watched = await self._watched(call)
        if self._api.registry.is_fetched(watched.resource):
            async for changes in watched.stream():
                take(self._events(changes, watched))
            return

        def tell() -> None:
            try:
                while True:
                    if changes := watched.take():
                        take(self._events(changes, watched))
                    if not watched.waits:
                        return
            except Exception as error:
                watched.close()
                watched.interrupt(error)

        try:
            async for changes in watched.begin():
                take(self._events(changes, watched))
            watched.follow(tell)
            while not watched.over:
                tell()
                await watched.idle()
        finally:
            watched.close()

    async def _watched(self, call: Call) -> Watched:
        answer = await self._answer(call)
        assert isinstance(answer, Watched)
        return answer

    def _events(self, changes: Sequence[Change], watched: Watched) -> list[WatchEvent]:
        return [WatchEvent(change.type, self._object(change, watched.resource)) for change in changes]

    async def close(self) -> None:
        """Nothing is held."""

    async def _answer(self, call: Call) -> Answer:
        resource = self._api.registry.table.find(call.resource.group, call.resource.version, call.resource.plural)
        if resource is None:
            return Made(await self._ask(call), None, 200)
        namespace = (call.namespace or "") if resource.namespaced else ""
        attributes = Attributes(
            self._user,
            call.verb,
            resource.group,
            resource.version,
            resource.plural,
            call.subresource or "",
            namespace,
            call.name or "",
        )
        self._authorize(attributes)
        request = Request(
            call.verb,
            resource,
            namespace,
            call.name or "",
            call.subresource or "",
            self._user,
            call.params,
            given=call.body,
            content_type=call.content_type,
            user_agent=self._user_agent,
        )
        return await dispatch.find(self._api, request)(self._api, request)

    def _authorize(self, attributes: Attributes) -> None:
        decision = self._authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)

    async def _ask(self, call: Call) -> Object:
        resource = call.resource
        remote = self._find_remote(resource.path()) if call.verb != "watch" else None
        if remote is None:
            raise NotFound.path()
        if call.verb == "discover":
            self._authorize(Attributes(self._user, "get", path=resource.path()))
        else:
            where = call.subresource or "", call.namespace or "", call.name or ""
            self._authorize(
                Attributes(self._user, call.verb, resource.group, resource.version, resource.plural, *where)
            )
        try:
            if remote.available:
                return await remote.ask(call, self._user)
        except Unavailable as error:
            log.debug("%s: %s", remote.name, error)
        raise ServiceUnavailable("the server is currently unable to handle the request")

    def _decoded(self, answer: Answer) -> Object:
        registry = self._api.registry
        if isinstance(answer, Stored):
            return registry.obj(answer.record, answer.resource)
        if isinstance(answer, Listed):
            metadata: Object = {"resourceVersion": str(answer.revision)}
            if answer.next:
                metadata["continue"] = answer.next
            if answer.remaining is not None:
                metadata["remainingItemCount"] = answer.remaining
            return {
                "kind": answer.resource.list_kind,
                "apiVersion": answer.resource.api_version,
                "metadata": metadata,
                "items": [registry.light(record, answer.resource) for record in answer.records],
            }
        assert not isinstance(answer, Watched)
        return answer.obj

    def _object(self, change: Change, resource: Resource) -> Object:
        if change.record is not None:
            return self._api.registry.light(change.record, resource)
        return change.obj or {}
