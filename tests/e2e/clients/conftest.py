"""What the tests of client libraries share: a custom resource."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster

_SPEC = {"type": "object", "properties": {"oars": {"type": "integer", "minimum": 0}, "colour": {"type": "string"}}}
_STATUS = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_SCALE = {"specReplicasPath": ".spec.oars", "statusReplicasPath": ".status.oars"}
BOATS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boats.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Boat", "plural": "boats", "singular": "boat", "shortNames": ["bo"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC, "status": _STATUS}}},
                "subresources": {"status": {}, "scale": _SCALE},
                "additionalPrinterColumns": [{"name": "Oars", "type": "integer", "jsonPath": ".spec.oars"}],
            }
        ],
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def boats(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that serves the custom resource ``boats.example.com``."""
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(BOATS))
    cluster.kubectl("wait", "crd/boats.example.com", "--for=condition=Established", "--timeout=10s")
    yield cluster
    cluster.kubectl("delete", "crd", "boats.example.com", "--timeout=60s")
