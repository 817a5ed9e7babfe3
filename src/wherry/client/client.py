"""The client: Kubernetes' verbs as methods over a `Transport`."""

from collections.abc import AsyncIterator
from typing import Any

from wherry.api.resources import Resource
from wherry.client.transport import Call, Pushing, Take, Transport, WatchEvent

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class Client:
    """Reads and writes objects as one user.

    Every method raises the `StatusError` subclass of the server's answer and OSError when the server cannot be
    reached. Extra keyword arguments are query parameters by their wire name (``propagationPolicy="Foreground"``).
    """

    def __init__(self, transport: Transport, *, field_manager: str = "") -> None:
        self.transport = transport
        self._manager = field_manager

    async def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        **params: str,
    ) -> dict[str, Any]:
        """Return one object."""
        return await self.transport.call(Call("get", resource, namespace, name, subresource, params))

    async def list(self, resource: Resource, namespace: str | None = None, **params: str) -> dict[str, Any]:
        """Return the list object of a namespace (None: of all)."""
        return await self.transport.call(Call("list", resource, namespace, params=params))

    def watch(self, resource: Resource, namespace: str | None = None, **params: str) -> AsyncIterator[WatchEvent]:
        """Iterate over changes from ``resourceVersion`` on."""
        return self.transport.watch(Call("watch", resource, namespace, params=params))

    async def follow(self, resource: Resource, take: Take, namespace: str | None = None, **params: str) -> None:
        """Call `take` with batches of changes from ``resourceVersion`` on until the server ends the watch, or `take`
        raises."""
        call = Call("watch", resource, namespace, params=params)
        if isinstance(self.transport, Pushing):
            await self.transport.follow(call, take)
            return
        async for event in self.transport.watch(call):
            take((event,))

    async def create(
        self,
        resource: Resource,
        obj: dict[str, Any],
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
        **params: str,
    ) -> dict[str, Any]:
        """Create `obj` (or post to a subresource of `name`) and return it as stored."""
        namespace = namespace or obj.get("metadata", {}).get("namespace")
        return await self.transport.call(
            Call("create", resource, namespace, name, subresource, self._managed(params), obj)
        )

    async def update(
        self, resource: Resource, obj: dict[str, Any], *, subresource: str | None = None, **params: str
    ) -> dict[str, Any]:
        """Replace the object of the same name; its ``resourceVersion``, where set, must be the current one."""
        meta = obj["metadata"]
        return await self.transport.call(
            Call("update", resource, meta.get("namespace"), meta["name"], subresource, self._managed(params), obj)
        )

    async def update_status(self, resource: Resource, obj: dict[str, Any], **params: str) -> dict[str, Any]:
        """Replace the status of the object."""
        return await self.update(resource, obj, subresource="status", **params)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str | None = None,
        **params: str,
    ) -> dict[str, Any]:
        """Patch one object; `content_type` is one of the four patch types."""
        return await self.transport.call(
            Call("patch", resource, namespace, name, subresource, self._managed(params), patch, content_type)
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        options: dict[str, Any] | None = None,
        **params: str,
    ) -> dict[str, Any]:
        """Delete one object; `options` is a DeleteOptions body (preconditions, gracePeriodSeconds …)."""
        return await self.transport.call(Call("delete", resource, namespace, name, None, params, options))

    async def delete_collection(
        self, resource: Resource, namespace: str | None = None, *, options: dict[str, Any] | None = None, **params: str
    ) -> dict[str, Any]:
        """Delete the objects that the selectors in `params` choose."""
        return await self.transport.call(Call("deletecollection", resource, namespace, None, None, params, options))

    async def discover(self, group: str, version: str) -> dict[str, Any]:
        """Return the resources (an APIResourceList) of a group version that an aggregated server serves."""
        return await self.transport.call(Call("discover", Resource(group, version, "", "", "", False, frozenset())))

    def _managed(self, params: dict[str, str]) -> dict[str, str]:
        return {"fieldManager": self._manager, **params} if self._manager and "fieldManager" not in params else params
