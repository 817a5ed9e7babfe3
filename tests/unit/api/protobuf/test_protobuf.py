"""Kubernetes' protobuf form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import protobuf
from wherry.api.schema import load

SCHEMA = load()

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web",
        "labels": {"app": "web", "tier": ""},
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:x": {}}}}],
    },
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "nginx",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}},
                "envFrom": [{"configMapRef": {"name": "settings", "optional": True}}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
                "readinessProbe": {"tcpSocket": {"port": 80}},
            }
        ],
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "v", "configMap": {"name": "x", "defaultMode": 420}}, {"name": "e", "emptyDir": {}}],
        "ephemeralContainers": [{"name": "debug", "image": "busybox", "targetContainerName": "c"}],
    },
}
OTHERS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "AAEC/w=="}, "type": "Opaque"},
    {"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"spec": [1, "x"]}, "revision": 3},
    {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "status": {"user": {"username": "u", "extra": {"k": ["a", "b"]}}},
    },
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {
            "versions": [
                {
                    "name": "v1",
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"x": {"type": "array", "items": {"type": "string"}, "maximum": 1.5}},
                            "additionalProperties": False,
                            "default": {"x": ["a"]},
                        }
                    },
                }
            ]
        },
    },
    {
        "apiVersion": "v1",
        "kind": "PodList",
        "metadata": {"resourceVersion": "7"},
        "items": [{"metadata": {"name": "a"}}],
    },
    {"apiVersion": "v1", "kind": "Event", "eventTime": "2026-01-02T03:04:05.678901Z", "count": 2},
]


@pytest.mark.parametrize("obj", [POD, *OTHERS], ids=lambda o: o["kind"])
def test_what_was_encoded_is_decoded_again(obj: dict[str, Any]) -> None:
    raw = protobuf.encode(obj, SCHEMA)
    assert raw is not None
    assert protobuf.decode(raw, SCHEMA) == obj


def test_zero_values_that_go_writes_arrive() -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "paused": False}}
    raw = protobuf.encode(deployment, SCHEMA)
    assert raw is not None
    assert protobuf.decode(raw, SCHEMA)["spec"] == {"replicas": 0, "paused": False}


def test_a_kind_without_messages_is_refused() -> None:
    assert protobuf.encode({"apiVersion": "example.com/v1", "kind": "Thing"}, SCHEMA) is None


def test_a_negative_number_survives() -> None:
    obj = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": -5}
    raw = protobuf.encode(obj, SCHEMA)
    assert raw is not None
    assert protobuf.decode(raw, SCHEMA)["value"] == -5


@given(st.binary(max_size=200))
def test_damaged_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    try:
        protobuf.decode(protobuf.MAGIC + data, SCHEMA)
    except protobuf.ProtobufError:
        pass


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_damaged_pod_is_read_or_refused(position: int, junk: bytes) -> None:
    raw = protobuf.encode(POD, SCHEMA)
    assert raw is not None
    damaged = raw[: 4 + position] + junk + raw[4 + position + len(junk) :]
    try:
        protobuf.decode(damaged, SCHEMA)
    except protobuf.ProtobufError:
        pass


def test_a_list_of_encoded_items_is_a_list() -> None:
    bodies = [protobuf.encode_body({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": n}}, SCHEMA) for n in "ab"]
    body = protobuf.list_body("7", "more", 5, [b for b in bodies if b is not None])
    found = protobuf.decode(protobuf.envelope("v1", "PodList", body), SCHEMA)
    assert [item["metadata"]["name"] for item in found["items"]] == ["a", "b"]
    assert found["metadata"]["resourceVersion"] == "7"
    assert found["metadata"]["remainingItemCount"] == 5


def test_metadata_alone_has_a_protobuf_form() -> None:
    obj = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "a", "uid": "u"}}
    raw = protobuf.encode(obj, SCHEMA)
    assert raw is not None
    assert protobuf.decode(raw, SCHEMA) == obj
