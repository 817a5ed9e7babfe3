"""A scheduler before a fake API, under virtual time."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from wherry.api.resources import EVENTS, NODES, PODS
from wherry.client.client import Client
from wherry.client.events import EventRecorder
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.client.testing import MutationDetector
from wherry.scheduler.profile import ProfileConfig, SchedulerConfig
from wherry.scheduler.scheduler import Scheduler
from wherry.util import clock, virtualtime
from wherry.util.tasks import Scope

_numbers = itertools.count()


def node(name: str, *, labels: dict[str, str] | None = None, taints: Any = (), **allocatable: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", **allocatable}},
    }


def pod(name: str, *, cpu: str = "", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    requests = {"requests": {"cpu": cpu}} if cpu else {}
    return {
        "metadata": {"name": name, "namespace": "ns", "labels": labels or {}},
        "spec": {
            "schedulerName": "default-scheduler",
            "containers": [{"name": "c", "image": "registry/app:1", "resources": requests}],
            **spec,
        },
        "status": {"phase": "Pending"},
    }


class World:
    """The API and what a test asks of it. Waiting is in virtual time."""

    def __init__(self, api: FakeTransport, scheduler: Scheduler) -> None:
        self.api, self.scheduler = api, scheduler

    def create(self, *objects: dict[str, Any]) -> None:
        for obj in objects:
            if "spec" in obj and "containers" in obj["spec"]:
                self.api.put({**obj, "apiVersion": "v1", "kind": "Pod"}, PODS)
            elif "allocatable" in obj.get("status", {}):
                self.api.put({**obj, "apiVersion": "v1", "kind": "Node"}, NODES)
            else:
                self.api.put(obj)

    def node_of(self, name: str) -> str | None:
        found = self.api.get(PODS, f"ns/{name}")
        return found["spec"].get("nodeName") if found else None

    def condition(self, name: str) -> dict[str, Any]:
        found = self.api.get(PODS, f"ns/{name}")
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        return next((c for c in conditions if c["type"] == "PodScheduled"), {})

    def events(self, reason: str) -> list[str]:
        return [event["message"] for event in self.api.list(EVENTS) if event["reason"] == reason]

    async def settle(self, seconds: float = 0.5) -> None:
        await clock.sleep(seconds)


def simulate(
    test: Callable[[World], Awaitable[None]], *, scheduling: SchedulerConfig | None = None, **config: Any
) -> None:
    """Run `test` with a scheduler running: by `scheduling`, or by one profile of `config`."""
    scheduling = scheduling or SchedulerConfig((ProfileConfig(**config),))

    async def main() -> None:
        api = FakeTransport()
        client = Client(api)
        async with InformerFactory(client) as factory, Scope() as scope:
            recorder = EventRecorder(client, "default-scheduler")
            scheduler = Scheduler(client, factory, recorder, config=scheduling)
            scope.spawn(recorder.run())
            scope.spawn(scheduler.run())
            await test(World(api, scheduler))

    with MutationDetector():
        virtualtime.run(main())
