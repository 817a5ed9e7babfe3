"""The API of the session's cluster, and a namespace of each test's own."""

import itertools
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.api import Api
from tests.e2e.conformance.world import World

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """The API as the administrator."""
    return Api(cluster.kubeconfig)


@pytest.fixture
def ns(api: Api) -> Iterator[str]:
    """The name of a namespace of the test's own; its removal is begun at the end and not awaited."""
    made = api.create("/api/v1/namespaces", {"metadata": {"generateName": f"conformance-{next(_NUMBERS)}-"}})
    name = made["metadata"]["name"]
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def world(api: Api, cluster: Cluster, ns: str) -> World:
    """The test's namespace with what makes pods in it."""
    return World(api, cluster, ns)


@pytest.fixture(scope="module")
def town(api: Api, cluster: Cluster) -> Iterator[World]:
    """A namespace that the tests of one file share."""
    made = api.create("/api/v1/namespaces", {"metadata": {"generateName": "conformance-town-"}})
    name = made["metadata"]["name"]
    yield World(api, cluster, name)
    api.delete(f"/api/v1/namespaces/{name}")
