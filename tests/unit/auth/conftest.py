from collections.abc import Sequence
from typing import Any

import pytest

from wherry.api import meta
from wherry.api.resources import Resource
from wherry.apiserver.attributes import Follower


class FakeReader:
    """Objects in dicts (`wherry.apiserver.attributes.Reader`); `reads` counts what was asked."""

    def __init__(self) -> None:
        self.objects: dict[Resource, dict[tuple[str, str], dict[str, Any]]] = {}
        self.versions: dict[Resource, int] = {}
        self.reads = 0
        self.followers: dict[Resource, list[Follower]] = {}

    def put(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        metadata = obj["metadata"]
        self.objects.setdefault(resource, {})[metadata.get("namespace") or "", metadata["name"]] = obj
        self.versions[resource] = self.versions.get(resource, 0) + 1
        for follower in self.followers.get(resource, ()):
            follower(meta.key_of(obj), obj)
        return obj

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        del self.objects[resource][namespace, name]
        self.versions[resource] += 1
        for follower in self.followers.get(resource, ()):
            follower(meta.make_key(namespace, name), None)

    def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any] | None:
        self.reads += 1
        return self.objects.get(resource, {}).get((namespace or "", name))

    def list(self, resource: Resource, namespace: str | None = None) -> Sequence[dict[str, Any]]:
        self.reads += 1
        return [obj for (space, _), obj in self.objects.get(resource, {}).items() if namespace in (None, space)]

    def version(self, resource: Resource) -> int:
        return self.versions.get(resource, 0)

    def follow(self, resource: Resource, follower: Follower) -> None:
        for obj in self.list(resource):
            follower(meta.key_of(obj), obj)
        self.followers.setdefault(resource, []).append(follower)


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()
