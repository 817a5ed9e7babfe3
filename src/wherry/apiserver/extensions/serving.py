"""Serving the versions of a definition: resources in the registry, scales, OpenAPI documents."""

from dataclasses import dataclass
from typing import Any

from wherry.api.meta import Object
from wherry.api.openapi import Documents, Published
from wherry.api.resources import Resource, Subresource
from wherry.api.structural.kind import CustomKind
from wherry.apiserver.api import Api
from wherry.apiserver.extensions.conversion import Converter
from wherry.apiserver.scales import ScalePaths
from wherry.apiserver.webhookclient import WebhookClient

_TERMINATING = frozenset({"delete", "deletecollection", "get", "list", "patch", "update", "watch"})
_ALL = _TERMINATING | {"create"}
_VIEW = frozenset({"get", "patch", "update"})


@dataclass(slots=True)
class Served:
    """What is served of one definition, and what that depends on."""

    shape: tuple[Any, ...]
    resources: list[Resource]
    stored: Resource


class Serving:
    """Serves definitions and stops serving them."""

    def __init__(self, api: Api, documents: Documents, client: WebhookClient) -> None:
        self._api = api
        self._documents = documents
        self._client = client
        self._served: dict[str, Served] = {}

    def serve(self, definition: Object, *, terminating: bool) -> None:
        """Serve a definition as it is now."""
        name = definition["metadata"]["name"]
        spec = definition["spec"]
        shape = (definition["metadata"]["uid"], spec, terminating)
        before = self._served.get(name)
        if before is not None and before.shape == shape:
            return
        kinds = {version["name"]: CustomKind(definition, version) for version in spec["versions"]}
        all_versions = {
            version["name"]: _resource(spec, kinds[version["name"]], terminating) for version in spec["versions"]
        }
        converter = Converter(definition, kinds, all_versions.values(), self._client)
        stored = next(all_versions[version["name"]] for version in spec["versions"] if version.get("storage"))
        resources = [all_versions[version["name"]] for version in spec["versions"] if version.get("served")]
        self._drop(before, keep={resource.version for resource in resources})
        for resource in resources:
            self._add(resource, converter, stored)
        self._served[name] = Served(shape, resources, stored)

    def stop(self, name: str) -> None:
        """Serve a definition no longer."""
        self._drop(self._served.pop(name, None), keep=set())

    def stored(self, name: str) -> Resource | None:
        """Return the resource that stores the objects of a definition, None when it is not served."""
        found = self._served.get(name)
        return None if found is None else found.stored

    def _add(self, resource: Resource, converter: Converter, stored: Resource) -> None:
        api, kind = self._api, resource.custom
        assert kind is not None
        if kind.scale is not None:
            api.scales[resource] = ScalePaths.of(kind.scale)
        api.registry.add_resource(resource, converter.between(resource, stored))
        self._documents.set_custom(resource, Published(kind.openapi, kind.selectable, kind.preserve_unknown))

    def _drop(self, served: Served | None, *, keep: set[str]) -> None:
        for resource in served.resources if served is not None else ():
            self._api.scales.pop(resource, None)
            self._documents.remove_custom(resource)
            if resource.version not in keep:
                self._api.registry.remove_resource(resource)


def _resource(spec: Object, kind: CustomKind, terminating: bool) -> Resource:
    names = spec["names"]
    subresources = {}
    if kind.has_status:
        subresources["status"] = Subresource("status", kind.kind, kind.group, kind.version, _VIEW)
    if kind.scale is not None:
        subresources["scale"] = Subresource("scale", "Scale", "autoscaling", "v1", _VIEW)
    return Resource(
        kind.group,
        kind.version,
        names["plural"],
        names.get("singular") or "",
        kind.kind,
        spec["scope"] == "Namespaced",
        _TERMINATING if terminating else _ALL,
        tuple(names.get("shortNames") or ()),
        tuple(names.get("categories") or ()),
        subresources,
        kind,
    )
