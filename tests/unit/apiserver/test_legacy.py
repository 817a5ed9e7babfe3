"""Removed API versions."""

from typing import Any

import pytest

from wherry.api.errors import Invalid
from wherry.api.resources import DEPLOYMENTS, INGRESSES, Resource
from wherry.apiserver import legacy
from wherry.apiserver.api import Api
from wherry.apiserver.conversion import Conversion


class FakeRegistry:
    def __init__(self) -> None:
        self.served: dict[tuple[str, str, str], tuple[Resource, Conversion]] = {}

    def add_resource(self, resource: Resource, convert: Conversion) -> None:
        self.served[resource.group, resource.version, resource.plural] = (resource, convert)


class FakeSchemas(dict[Resource, Any]):
    def add(self, resource: Resource, schema: Any) -> None:
        self[resource] = schema


class FakeApi(Api):
    def __init__(self) -> None:
        self.registry = FakeRegistry()  # type: ignore[assignment]
        self.schemas = FakeSchemas()  # type: ignore[assignment]


def written(group: str, version: str, plural: str, obj: dict[str, Any]) -> tuple[dict[str, Any], Conversion]:
    """Return the object as it would be stored, and the conversion."""
    api = FakeApi()
    legacy.enable(api)
    resource, conversion = api.registry.served[group, version, plural]  # type: ignore[attr-defined]
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
    conformed, unknown, error = api.schemas[resource].conform(whole)  # type: ignore[index]
    assert (unknown, error) == ([], None)
    return conversion.to_stored(conformed), conversion


TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def test_an_old_deployment_selects_its_template_and_rolls_one_pod_at_a_time() -> None:
    obj = {"metadata": {"name": "d", "namespace": "n"}, "spec": {"template": TEMPLATE}}
    stored, conversion = written("extensions", "v1beta1", "deployments", obj)
    assert stored["apiVersion"] == DEPLOYMENTS.api_version
    assert stored["spec"]["selector"] == {"matchLabels": {"app": "a"}}
    assert stored["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 1}
    assert conversion.from_stored(stored)["apiVersion"] == "extensions/v1beta1"


def test_an_old_ingress_becomes_a_new_one_and_comes_back() -> None:
    backend = {"serviceName": "web", "servicePort": 80}
    rules = [{"host": "a.example", "http": {"paths": [{"path": "/", "backend": backend}]}}]
    obj = {"metadata": {"name": "i", "namespace": "n"}, "spec": {"rules": rules}}
    stored, conversion = written("networking.k8s.io", "v1beta1", "ingresses", obj)
    path = stored["spec"]["rules"][0]["http"]["paths"][0]
    assert path["backend"] == {"service": {"name": "web", "port": {"number": 80}}}
    assert path["pathType"] == "ImplementationSpecific"
    assert stored["apiVersion"] == INGRESSES.api_version
    back = conversion.from_stored(stored)
    assert back["spec"]["rules"][0]["http"]["paths"][0]["backend"] == backend


def test_what_would_not_hold_today_is_refused() -> None:
    obj = {"metadata": {"name": "d", "namespace": "n"}, "spec": {"template": {"spec": {"containers": []}}}}
    with pytest.raises(Invalid):
        written("extensions", "v1beta1", "deployments", obj)
