"""Whatever is written and whenever a watch begins, what it tells leads to what a list shows, by steps that fit."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from tests.component.apiserver.conftest import ADMIN
from wherry.api.resources import CONFIGMAPS
from wherry.apiserver.server import ApiServer
from wherry.client.client import Client
from wherry.client.http import HTTPTransport
from wherry.client.transport import WatchEvent
from wherry.util.tasks import Scope

SELECTORS: list[dict[str, str]] = [
    {},
    {"labelSelector": "tier=web"},
    {"labelSelector": "tier!=web"},
    {"fieldSelector": "metadata.name=b"},
    {"fieldSelector": "metadata.name!=b", "labelSelector": "tier"},
]


class Replica:
    """What a client holds that believes a watch."""

    def __init__(self, listed: dict[str, Any]) -> None:
        self.objects = {_key(obj): _version(obj) for obj in listed["items"]}
        self.revision = int(listed["metadata"]["resourceVersion"])
        self.told = asyncio.Event()

    def take(self, events: Sequence[WatchEvent]) -> None:
        """Believe `events`. Raises AssertionError when one does not fit."""
        self.told.set()
        for event, obj in events:
            assert int(_version(obj)) > self.revision or event == "BOOKMARK", "revisions rise"
            self.revision = int(_version(obj))
            if event == "BOOKMARK":
                continue
            assert (_key(obj) in self.objects) is (event != "ADDED")
            if event == "DELETED":
                del self.objects[_key(obj)]
            else:
                self.objects[_key(obj)] = _version(obj)


def _key(obj: dict[str, Any]) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _version(obj: dict[str, Any]) -> str:
    return obj["metadata"]["resourceVersion"]


async def _write(client: Client, rng: random.Random) -> None:
    """Create, change or delete one of a few objects."""
    name, namespace = rng.choice(["a", "b", "ab", "ba"]), rng.choice(["default", "kube-system"])
    labels = rng.choice([{}, {"tier": "web"}, {"tier": "db"}])
    found = {obj["metadata"]["name"]: obj for obj in (await client.list(CONFIGMAPS, namespace))["items"]}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    if name not in found:
        await client.create(CONFIGMAPS, {"metadata": metadata})
    elif rng.random() < 0.4:
        await client.delete(CONFIGMAPS, name, namespace)
    else:
        await client.update(CONFIGMAPS, {"metadata": metadata, "data": {"n": str(rng.random())}})


async def _pull(client: Client, replica: Replica, namespace: str | None, params: dict[str, str]) -> None:
    async for event in client.watch(CONFIGMAPS, namespace, **params):
        replica.take([event])


@pytest.mark.parametrize("seed", range(12))
async def test_what_a_watch_tells_leads_to_what_a_list_shows(server: ApiServer, seed: int) -> None:
    rng, client = random.Random(seed), Client(server.transport(ADMIN))
    outside = HTTPTransport(f"http://127.0.0.1:{server.port}", token="secret")
    before = asyncio.all_tasks()
    for _ in range(rng.randrange(8)):
        await _write(client, rng)
    replicas: list[tuple[Replica, str | None, dict[str, str]]] = []
    async with Scope() as scope:
        for _ in range(60):
            await _write(client, rng)
            if rng.random() < 0.3:
                namespace, selector = rng.choice([None, "default"]), rng.choice(SELECTORS)
                replica = Replica(await client.list(CONFIGMAPS, namespace, **selector))
                replicas.append((replica, namespace, selector))
                for _ in range(rng.randrange(4)):
                    await _write(client, rng)
                params = {**selector, "resourceVersion": str(replica.revision), "allowWatchBookmarks": "true"}
                if rng.random() < 0.3:
                    scope.spawn(client.follow(CONFIGMAPS, replica.take, namespace, **params))
                else:
                    far = rng.random() < 0.7
                    scope.spawn(_pull(Client(outside) if far else client, replica, namespace, params))
        for replica, namespace, selector in replicas:
            listed = (await client.list(CONFIGMAPS, namespace, **selector))["items"]
            wanted = {_key(obj): _version(obj) for obj in listed}
            async with asyncio.timeout(5):
                while replica.objects != wanted:
                    await replica.told.wait()
                    replica.told.clear()
    await outside.close()
    if ending := asyncio.all_tasks() - before:
        await asyncio.wait(ending, timeout=5)
