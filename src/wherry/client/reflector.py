"""List and watch one resource into a sink, for ever."""

import logging
import random
from collections.abc import Sequence
from typing import Protocol

from wherry.api import errors
from wherry.api.meta import Object
from wherry.api.resources import Resource
from wherry.client.client import Client
from wherry.client.transport import WatchEvent
from wherry.util import clock
from wherry.util.backoff import Backoff

log = logging.getLogger(__name__)

_HEALTHY = 120.0  # a watch that lived so long starts the back-off anew, as client-go's reflector does


class Sink(Protocol):
    """Receives what a reflector sees; called on the event loop, must not raise."""

    def replace(self, objects: list[Object]) -> None:
        """`objects` are all there are now."""
        ...

    def apply(self, event: str, obj: Object) -> None:
        """`event` is ADDED, MODIFIED or DELETED (then `obj` is the last state)."""
        ...

    def reached(self, revision: str) -> None:
        """All changes up to `revision` have been told."""
        ...


class Reflector:
    """Keeps a sink equal to what the server has.

    After the first list it watches from the list's revision; a watch that ends goes on from the last revision seen
    (bookmarks included), so nothing is lost and nothing listed twice. An expired revision (410) leads to a new list.
    While the server cannot be reached it tries again after 50 ms up to 30 s, and so where it refuses, of which the log
    tells from the second time on. There is no periodic resync.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        sink: Sink,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self._client = client
        self._resource = resource
        self._sink = sink
        self._namespace = namespace
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._params = {name: value for name, value in selectors.items() if value}
        self._revision = ""
        self._exact = False
        self._refused = False
        self._backoff = Backoff(0.05, 30.0, jitter=0.5)

    @property
    def revision(self) -> str:
        """The ``resourceVersion`` last seen; empty before the first list and after an expiry."""
        return self._revision

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            started = clock.monotonic()
            try:
                if not self._revision:
                    await self._list()
                await self._watch()
                pause = clock.monotonic() - started < 1.0
            except errors.Gone as error:
                log.debug("%r: list again: %s", self._resource, error)
                self._revision, self._exact = "", True
                pause = True
            except (TimeoutError, errors.TooManyRequests, OSError) as error:
                log.debug("%r: go on from %r: %s", self._resource, self._revision, error)
                pause = True
            except errors.StatusError as error:
                # A single refusal is the end of what one was allowed: the node's objects of a pod that was deleted.
                level = logging.WARNING if self._refused else logging.DEBUG
                log.log(level, "%r: cannot list or watch: %s", self._resource, error)
                self._revision, self._refused = "", True
                pause = True
            except Exception:
                # Whatever an answer holds, it must not end the process that wants to know what comes after it.
                log.exception("%r: cannot take what the server says", self._resource)
                self._revision, self._exact = "", True
                pause = True
            if clock.monotonic() - started > _HEALTHY:
                self._well()
            if pause:
                await clock.sleep(self._backoff.next())

    async def _list(self) -> None:
        # Revision 0 lets the server answer from its cache; after an expiry that cache may be what is too old.
        params = self._params if self._exact else {**self._params, "resourceVersion": "0"}
        found = await self._client.list(self._resource, self._namespace, **params)
        # The members of a list carry neither kind nor apiVersion on the wire.
        of_type = {"kind": self._resource.kind, "apiVersion": self._resource.api_version}
        self._sink.replace([{**of_type, **item} for item in found.get("items") or ()])
        self._exact = False
        self._reach(found["metadata"]["resourceVersion"])

    async def _watch(self) -> None:
        params = {
            **self._params,
            "resourceVersion": self._revision,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(300, 600)),
        }
        await self._client.follow(self._resource, self._take, self._namespace, **params)

    def _take(self, events: Sequence[WatchEvent]) -> None:
        told = False
        for event, obj in events:
            if event == "ERROR":
                raise errors.from_status(obj)
            if event != "BOOKMARK":
                self._sink.apply(event, obj)
                told = True
        if told:
            self._well()
        self._reach(events[-1].object["metadata"]["resourceVersion"])

    def _well(self) -> None:
        self._backoff.reset()
        self._refused = False

    def _reach(self, revision: str) -> None:
        self._revision = revision
        self._sink.reached(revision)
