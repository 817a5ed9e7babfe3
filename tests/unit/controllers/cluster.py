"""A cluster in memory: the fake API, some controllers, and pods that become ready when told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import EVENTS, PODS, Resource
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.controllers.controller import Controller, Settings
from wherry.controllers.manager import Manager
from wherry.util import clock
from wherry.util.tasks import Scope


class Cluster:
    def __init__(self, *kinds: type[Controller], objects: tuple[Object, ...] = (), settings: Settings | None = None):
        self.fake = FakeTransport(*objects)
        self.client = Client(self.fake)
        self.manager = Manager(self.client, controllers=kinds, settings=settings)
        self.auto_ready = False

    async def settle(self, seconds: float = 3) -> None:
        await asyncio.sleep(seconds)

    def pods(self, namespace: str = "ns") -> list[Object]:
        return self.fake.list(PODS, namespace)

    def get(self, resource: Resource, name: str, namespace: str | None = "ns") -> Object:
        found = self.fake.get(resource, meta.make_key(namespace, name))
        assert found is not None, f"{resource!r} {name} does not exist"
        return found

    def set_phase(self, pod: Object, phase: str, *, ready: bool | None = None, **status: object) -> Object:
        pod = meta.copy(pod)
        ready = phase == "Running" if ready is None else ready
        pod["status"] = {
            "phase": phase,
            **status,
            "conditions": [
                {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": clock.timestamp()}
            ],
        }
        return self.fake.put(pod)

    def run_all(self) -> int:
        waiting = [
            pod for pod in self.fake.list(PODS) if (pod.get("status") or {}).get("phase", "Pending") == "Pending"
        ]
        for pod in waiting:
            self.set_phase(pod, "Running")
        return len(waiting)

    async def events(self) -> list[str]:
        await self.manager.flush_events()
        return [f"{event['reason']}: {event['message']}" for event in self.fake.list(EVENTS)]

    async def _kubelet(self) -> None:
        while True:
            await asyncio.sleep(1)
            if self.auto_ready:
                self.run_all()


@asynccontextmanager
async def running(
    *kinds: type[Controller], objects: tuple[Object, ...] = (), settings: Settings | None = None
) -> AsyncIterator[Cluster]:
    cluster = Cluster(*kinds, objects=objects, settings=settings)
    async with Scope() as scope:
        cluster.manager.run(scope)
        scope.spawn(cluster._kubelet())
        await cluster.settle()
        yield cluster


def template(app: str = "web", image: str = "a") -> Object:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]}}
