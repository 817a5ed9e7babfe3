"""The API of the session's cluster and a namespace that the tests of one file share."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.api import Api
from tests.e2e.conformance.world import World


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[World]:
    """A namespace with what makes pods in it."""
    api = Api(cluster.kubeconfig)
    name = api.create("/api/v1/namespaces", {"metadata": {"generateName": "node-"}})["metadata"]["name"]
    yield World(api, cluster, name)
    api.delete(f"/api/v1/namespaces/{name}")
