"""Follows the APIServices that have a Service, says whether they are available, and finds the one of a request."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from wherry.api import meta
from wherry.api.errors import StatusError
from wherry.api.meta import Object
from wherry.api.resources import APISERVICES, ENDPOINTSLICES, SERVICES
from wherry.apiserver.aggregation.remote import Remote, Unavailable
from wherry.apiserver.discovery import Discovery
from wherry.apiserver.openapi import OpenApi
from wherry.apiserver.registry import Registry
from wherry.client.client import Client
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.metrics import GAUGE, Family, Sample
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_LOOK = 1.0
_CHECK_AGAIN = 30.0
_DOCUMENTS = "/openapi/v3"
_UNAVAILABLE = "aggregator_unavailable_apiservice"
FAMILIES = {_UNAVAILABLE: Family(GAUGE, "Whether an APIService is not available, by its name.")}


class Aggregator:
    """``async with Aggregator(...)`` follows the APIServices; `client` writes their status, `find` searches them."""

    def __init__(
        self,
        registry: Registry,
        discovery: Discovery,
        openapi: OpenApi,
        client: Client,
        certificate: tuple[Path, Path] | None,
    ) -> None:
        self._openapi = openapi
        self._registry = registry
        self._discovery = discovery
        self._client = client
        self._certificate = certificate
        self._remotes: dict[str, Remote] = {}
        self._by_path: dict[str, Remote] = {}
        self._wake = asyncio.Event()
        self._due = 0.0
        self._scope = Scope()

    async def __aenter__(self) -> "Aggregator":
        await self._scope.__aenter__()
        self._registry.follow(APISERVICES, self._changed)
        self._scope.spawn(self._run(), name="aggregator", guard=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._scope.__aexit__(kind, error, traceback)
        for remote in self._remotes.values():
            await remote.close()

    def find(self, path: str) -> Remote | None:
        """Return who serves a path below ``/apis/GROUP/VERSION``, None when this server does."""
        if not self._by_path:
            return None
        if path.startswith(_DOCUMENTS):
            return self._by_path.get(path.removeprefix(_DOCUMENTS).rstrip("/"))
        return self._by_path.get("/".join(path.split("/", 4)[:4])) if path.startswith("/apis/") else None

    def samples(self) -> Iterator[Sample]:
        """Yield which APIServices are not available."""
        for obj in self._registry.list(APISERVICES):
            yield Sample(_UNAVAILABLE, {"name": meta.name(obj)}, not meta.is_true(obj, "Available"))

    def _changed(self, key: str, obj: Object | None) -> None:
        name = key.rpartition("/")[2]
        known = self._remotes.get(name)
        if obj is None or not obj["spec"].get("service"):
            if known is None:
                return
            del self._remotes[name]
        elif known is not None and known.spec == obj["spec"]:
            known.available = meta.is_true(obj, "Available")
            if (meta.condition(obj, "Available") or {}).get("status") != known.told:
                self._wake.set()  # somebody else wrote the status
            return
        else:
            self._remotes[name] = Remote(self._registry, obj, self._certificate)
        if known is not None:
            self._scope.spawn(known.close(), guard=True)
        self._by_path = {remote.path: remote for remote in self._remotes.values()}
        self._publish()
        self._openapi.merge([one for one in self._remotes.values() if one.resources is not None])
        self._wake.set()

    def _publish(self) -> None:
        """Say in discovery what the remotes serve; what does not answer is stale."""
        remotes: dict[str, dict[str, list[Object] | None]] = {}
        for remote in self._remotes.values():
            remotes.setdefault(remote.group, {})[remote.version] = remote.resources
        self._discovery.remotes = remotes
        self._discovery.forget()

    async def _run(self) -> None:
        """Check all when something that they depend on changed, and every half a minute; sooner while one fails."""
        seen: tuple[int, ...] = ()
        failing = Backoff(_LOOK / 2, _CHECK_AGAIN)
        while True:
            versions = tuple(map(self._registry.version, (SERVICES, ENDPOINTSLICES)))
            asked = self._wake.is_set()
            self._wake.clear()
            if self._remotes and (asked or versions != seen or clock.monotonic() >= self._due):
                if asked or versions != seen:
                    failing.reset()
                seen, self._due = versions, clock.monotonic() + _CHECK_AGAIN
                await asyncio.gather(*(self._check(remote) for remote in list(self._remotes.values())))
                if any(remote.told != "True" for remote in self._remotes.values()):
                    self._due = min(self._due, clock.monotonic() + failing.next())
            try:
                rest = max(min(_LOOK, self._due - clock.monotonic()), 0.0)
                async with asyncio.timeout(rest if self._remotes else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _check(self, remote: Remote) -> None:
        condition = {"type": "Available", "status": "True", "reason": "Passed", "message": "all checks passed"}
        resources: list[Object] | None = None
        try:
            resources = await remote.check()
        except Unavailable as error:
            condition |= {"status": "False", "reason": error.reason, "message": str(error)}
        if self._remotes.get(remote.name) is not remote:
            return
        if resources is not None:
            await remote.read_documents()
        if resources != remote.resources:
            remote.resources = resources
            self._publish()
        self._openapi.merge([one for one in self._remotes.values() if one.resources is not None])
        obj = self._registry.get(APISERVICES, None, remote.name)
        if obj is None:
            return
        before = meta.condition(obj, "Available") or {}
        remote.told = condition["status"]
        if all(before.get(member) == value for member, value in condition.items()):
            return
        status = dict(obj.get("status") or {})
        status["conditions"] = meta.with_condition(status.get("conditions") or (), condition, now=clock.timestamp())
        try:
            await self._client.update_status(APISERVICES, {**obj, "status": status})
        except StatusError as error:
            log.debug("the status of %s is left for the next look: %s", remote.name, error)
            self._due = clock.monotonic() + _LOOK
