"""Says in the status of each FlowSchema whether the level that it names exists (apiserver ``flowcontrol``)."""

import asyncio
import logging

from wherry.api import meta
from wherry.api.errors import NotFound, StatusError
from wherry.api.meta import Object
from wherry.apiserver.flowcontrol.control import FLOWSCHEMAS, LEVELS
from wherry.apiserver.registry import Registry
from wherry.client.client import APPLY_PATCH, Client
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Service

log = logging.getLogger(__name__)

_MANAGER = "api-priority-and-fairness-config-consumer-v1"
_FIRST, _LONGEST = 0.5, 60.0


def dangling(schema: Object, levels: set[str]) -> Object:
    """Return the condition Dangling that a FlowSchema has to have, without its time."""
    level = schema["spec"]["priorityLevelConfiguration"]["name"]
    found = level in levels
    named = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    return {
        "type": "Dangling",
        "status": "False" if found else "True",
        "reason": "Found" if found else "NotFound",
        "message": f"{named} and it exists" if found else f"{named} but there is no such object",
    }


class References(Service):
    """``async with References(registry, client)``: `client` writes the conditions, as the API server itself.

    Whatever somebody else writes there is put right again; a write that fails is tried again, ever more slowly.
    """

    name = "flow schemas"

    def __init__(self, registry: Registry, client: Client) -> None:
        super().__init__()
        self._registry = registry
        self._client = client
        self._changed = asyncio.Event()

    async def _run(self) -> None:
        for resource in (FLOWSCHEMAS, LEVELS):
            self._registry.follow(resource, lambda key, obj: self._changed.set())
        failing = Backoff(_FIRST, _LONGEST)
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self._write_all():
                failing.reset()
                continue
            await clock.sleep(failing.next())
            self._changed.set()

    async def _write_all(self) -> bool:
        """Write the conditions that differ; tell whether all writes went well."""
        levels = {meta.name(level) for level in self._registry.list(LEVELS)}
        well = True
        for schema in list(self._registry.list(FLOWSCHEMAS)):
            wanted = dangling(schema, levels)
            before = meta.condition(schema, "Dangling") or {}
            if any(before.get(member) != value for member, value in wanted.items()):
                well = await self._write(meta.name(schema), wanted) and well
        return well

    async def _write(self, name: str, condition: Object) -> bool:
        stamped = {**condition, "lastTransitionTime": clock.timestamp()}
        applied = {
            "apiVersion": FLOWSCHEMAS.api_version,
            "kind": FLOWSCHEMAS.kind,
            "metadata": {"name": name},
            "status": {"conditions": [stamped]},
        }
        how = {"content_type": APPLY_PATCH, "subresource": "status", "fieldManager": _MANAGER, "force": "true"}
        try:
            await self._client.patch(FLOWSCHEMAS, name, applied, **how)
        except NotFound:
            return True
        except StatusError as error:
            log.warning("cannot write the status of the FlowSchema %s: %s", name, error)
            return False
        return True
