"""A whole control plane under virtual time, with simulated nodes, and a record of every write."""

import hashlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from tests.component.month.nodes import Nodes
from wherry.api.meta import Object
from wherry.apiserver.attributes import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from wherry.apiserver.authn.issuer import ServiceAccountIssuer, SigningKey, groups, username
from wherry.apiserver.inprocess import InProcessTransport
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.client.client import Client
from wherry.client.events import EventRecorder
from wherry.client.informer import InformerFactory
from wherry.client.transport import Call, Take, WatchEvent
from wherry.controllers.controller import Settings
from wherry.controllers.manager import Manager
from wherry.scheduler.scheduler import Scheduler
from wherry.store.memory import MemoryStore
from wherry.store.protocol import PUT, Event
from wherry.util.tasks import Scope

Seen = Callable[[str, str, Object | None, Object | None], None]
"""Hears of every write: kind (``pods``), key, the state before and the state after; None where there is none."""

_DAY = 86400
_SECRET = "/registry/core/secrets/"
_SERVER = "/registry/coordination.k8s.io/leases/kube-system/apiserver-"
"""Says where the server listens, which is another port each time."""


class DailyWatches:
    """A transport whose watches last a day and have no bookmarks: a month of those would be all that is tested."""

    def __init__(self, inner: InProcessTransport) -> None:
        self._inner = inner

    async def call(self, call: Call) -> dict[str, Any]:
        return await self._inner.call(call)

    def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        return self._inner.watch(_lasting(call))

    async def follow(self, call: Call, take: Take) -> None:
        await self._inner.follow(_lasting(call), take)

    async def close(self) -> None:
        await self._inner.close()


def _lasting(call: Call) -> Call:
    call.params = {**call.params, "timeoutSeconds": str(_DAY)}
    call.params.pop("allowWatchBookmarks", None)
    return call


class World:
    """What a scenario acts on. `digest` depends on every byte that was written, in order, but for tokens and the lease
    of the server."""

    def __init__(self, admin: Client, nodes: Nodes, rng: random.Random, scope: Scope) -> None:
        self.admin = admin
        self.nodes = nodes
        self.rng = rng
        self.spawn = scope.spawn
        self.writes = 0
        self.objects: dict[str, dict[str, Object]] = {}
        self.observers: list[Seen] = []
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def all(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Return the stored objects of a kind (``pods``), as of now."""
        found = self.objects.get(kind, {})
        return [obj for key, obj in found.items() if namespace is None or key.startswith(f"{namespace}/")]

    def take(self, events: Sequence[Event]) -> None:
        """Hear of writes (the sink of the store's watch)."""
        for event in events:
            record = event.record
            if record.key.startswith((_SECRET, _SERVER)):
                continue
            self.writes += 1
            self._hash.update(f"{event.type} {record.key} ".encode() + record.value)
            _, _, _, kind, key = record.key.split("/", 4)
            of_kind = self.objects.setdefault(kind, {})
            before = of_kind.pop(key, None)
            after = orjson.loads(record.value) if event.type == PUT else None
            if after is not None:
                of_kind[key] = after
            if kind == "pods":
                self.nodes.heard((after or before or {})["metadata"]["uid"], after)
            for observer in self.observers:
                observer(kind, key, before, after)


class Pace(NamedTuple):
    """Seconds between the heartbeats of a node, of silence until it is given up, and between looks at all nodes."""

    heartbeat: float
    grace: float
    monitor_period: float


@asynccontextmanager
async def world(seed: int, pace: Pace) -> AsyncIterator[World]:
    """Run API server, all controllers and the scheduler, and give the scenario's side of it."""
    rng = random.Random(seed)
    store = MemoryStore()
    issuer = ServiceAccountIssuer([SigningKey.of(ec.generate_private_key(ec.SECP256R1()))])
    async with ApiServer(store, ServerOptions(port=0, host="127.0.0.1"), issuer=issuer) as server, Scope() as scope:

        def client(name: str, *of: str) -> Client:
            user = UserInfo(name, (*of, AUTHENTICATED_GROUP))
            return Client(DailyWatches(server.transport(user)), field_manager=name.rpartition(":")[2])

        def of_controller(name: str) -> Client:
            return client(username("kube-system", name), *groups("kube-system"))

        admin = client("admin", MASTERS_GROUP)
        nodes = Nodes(admin, rng, heartbeat=pace.heartbeat)
        nodes.spawn(scope)
        made = World(admin, nodes, rng, scope)
        subscription = await store.watch("/registry/", store.revision, made.take)
        for listed in store.list("/registry/")[0]:
            _, _, _, kind, key = listed.key.split("/", 4)
            made.objects.setdefault(kind, {})[key] = orjson.loads(listed.value)
        settings = Settings(root_ca="CA", node_monitor_period=pace.monitor_period, node_monitor_grace_period=pace.grace)
        manager = Manager(client("system:kube-controller-manager"), settings=settings, client_for=of_controller)
        manager.run(scope)
        scheduling = client("system:kube-scheduler")
        informers, recorder = InformerFactory(scheduling), EventRecorder(scheduling, "default-scheduler")
        scheduler = Scheduler(scheduling, informers, recorder)
        informers.run(scope)
        scope.spawn(recorder.run(), name="scheduler events")
        scope.spawn(scheduler.run(), name="scheduler")
        yield made
        subscription.close()
    await store.close()
