"""Fake nodes in virtual time: what the API sees of them is what it sees of kubelets."""

from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from wherry.api import meta
from wherry.api.resources import LEASES, NODES, PODS
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.kubelet.fake import FakeConfig
from wherry.kubelet.fake.nodes import FakeNodes
from wherry.util import clock, virtualtime
from wherry.util.tasks import Scope

Object = dict[str, Any]


class World:
    """An API with fake nodes before it, which may be stopped and started anew."""

    def __init__(self, *, count: int = 1, delay: float = 0.0) -> None:
        self.api = FakeTransport()
        self.config = FakeConfig(count=count, delay=delay, address="192.0.2.1")

    @asynccontextmanager
    async def running(self) -> Any:
        client = Client(self.api)
        async with InformerFactory(client) as informers, Scope() as scope:
            nodes = FakeNodes(self.config, informers, client_for=lambda name: client, admin=client)
            scope.spawn(nodes.run())
            await self.until(lambda: len(self.api.list(NODES)) == self.config.count)
            await clock.sleep(0.1)
            yield

    def create(self, name: str = "web", *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        containers = [{"name": "c", "image": "app:1"}]
        self.api.put(
            {
                "kind": "Pod",
                "apiVersion": "v1",
                "metadata": {"name": name, "namespace": "ns", "annotations": annotations or {}},
                "spec": {"nodeName": "fake-0", "containers": containers, "terminationGracePeriodSeconds": 30, **spec},
                "status": {"phase": "Pending"},
            },
            PODS,
        )

    def pod(self, name: str = "web") -> Object | None:
        return self.api.get(PODS, f"ns/{name}")

    def status(self, name: str = "web") -> Object:
        return (self.pod(name) or {}).get("status") or {}

    def ready(self, name: str = "web") -> bool:
        return meta.is_true(self.pod(name) or {}, "Ready")

    async def until(self, condition: Callable[[], bool], *, patience: float = 60.0) -> float:
        """Wait for a condition and return how long it took."""
        began = clock.monotonic()
        while not condition():
            assert clock.monotonic() < began + patience
            await clock.sleep(0.05)
        return clock.monotonic() - began


def run(test: Coroutine[Any, Any, None]) -> None:
    virtualtime.run(test)


def test_nodes_are_ready_and_keep_lease_and_status_alive() -> None:
    async def main() -> None:
        world = World(count=3)
        async with world.running():
            assert all(meta.is_true(node, "Ready") for node in world.api.list(NODES))
            before = {meta.name(lease): lease["spec"]["renewTime"] for lease in world.api.list(LEASES)}
            assert len(before) == 3
            await clock.sleep(11)
            assert all(lease["spec"]["renewTime"] > before[meta.name(lease)] for lease in world.api.list(LEASES))
            beats = [meta.condition(node, "Ready") or {} for node in world.api.list(NODES)]
            await clock.sleep(320)
            later = [meta.condition(node, "Ready") or {} for node in world.api.list(NODES)]
            assert all(a["lastHeartbeatTime"] > b["lastHeartbeatTime"] for a, b in zip(later, beats, strict=True))

    run(main())


def test_pods_become_ready_after_the_delay_with_one_write() -> None:
    async def main() -> None:
        world = World(delay=5)
        async with world.running():
            world.create()
            assert 4.9 <= await world.until(world.ready) < 5.2
            assert world.status()["phase"] == "Running"
            assert world.status()["podIP"].startswith("198.18.")
            await clock.sleep(600)
            assert len(world.api.written("patch", PODS)) == 1

    run(main())


def test_pods_that_are_not_restarted_run_to_their_end() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            world.create("job", restartPolicy="Never")
            world.create("bad", restartPolicy="Never", annotations={"wherry.local/fake-exit-code": "3"})
            await world.until(lambda: world.status("job")["phase"] == "Succeeded")
            await world.until(lambda: world.status("bad")["phase"] == "Failed")
            assert world.status("bad")["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3

    run(main())


def test_containers_that_fail_are_restarted_after_a_growing_while() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            world.create(restartPolicy="OnFailure", annotations={"wherry.local/fake-exit-code": "1"})

            def restarts() -> int:
                return int((world.status().get("containerStatuses") or [{}])[0].get("restartCount") or 0)

            await world.until(lambda: restarts() == 1)
            assert await world.until(lambda: restarts() == 3) > 10
            last = world.status()["containerStatuses"][0]["lastState"]["terminated"]
            assert last["startedAt"] < last["finishedAt"]

    run(main())


def test_deleted_pods_end_and_go_and_finalizers_keep_them() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            world.create(annotations={"wherry.local/fake-stop-seconds": "7"})
            world.create("kept")
            held = meta.copy(world.pod("kept") or {})
            world.api.put({**held, "metadata": {**held["metadata"], "finalizers": ["example.com/x"]}}, PODS)
            await world.until(lambda: world.ready() and world.ready("kept"))
            for name in ("web", "kept"):
                await Client(world.api).delete(PODS, name, "ns")
            assert 5.9 <= await world.until(lambda: world.pod() is None) < 8.2
            await clock.sleep(60)
            assert world.status("kept")["phase"] == "Succeeded"
            assert len([c for c in world.api.written("delete", PODS) if c.name == "kept"]) == 2

    run(main())


def test_vanished_node_is_silent_until_it_is_back() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            world.create()
            await world.until(world.ready)
            client = Client(world.api)
            gone: Object = {"metadata": {"annotations": {"wherry.local/fake-vanished": "true"}}}
            await client.patch(NODES, "fake-0", gone)
            await client.delete(PODS, "web", "ns")
            await clock.sleep(15)
            before = world.api.list(LEASES)[0]["spec"]["renewTime"]
            await clock.sleep(600)
            assert world.pod() is not None
            assert world.api.list(LEASES)[0]["spec"]["renewTime"] == before
            gone["metadata"]["annotations"]["wherry.local/fake-vanished"] = None
            await client.patch(NODES, "fake-0", gone)
            await world.until(lambda: world.pod() is None)
            assert world.api.list(LEASES)[0]["spec"]["renewTime"] > before

    run(main())


def test_a_new_process_goes_on_with_the_pods_it_finds() -> None:
    async def main() -> None:
        world = World(count=2)
        async with world.running():
            world.create()
            await world.until(world.ready)
        before = world.status()
        world.config = FakeConfig(count=1, address="192.0.2.1")
        async with world.running():
            world.create("new")
            await world.until(lambda: world.ready("new"))
            assert world.status() == before
            assert world.status("new")["podIP"] != before["podIP"]
            assert [meta.name(node) for node in world.api.list(NODES)] == ["fake-0"], "a smaller number removes nodes"

    run(main())


def test_a_node_that_was_deleted_registers_again() -> None:
    async def main() -> None:
        world = World()
        async with world.running():
            await Client(world.api).delete(NODES, "fake-0")
            await world.until(lambda: bool(world.api.list(NODES)))

    run(main())
