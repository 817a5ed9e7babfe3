"""The resources that can be listed and deleted: built-in ones once each, and those of CustomResourceDefinitions."""

from collections.abc import Callable, Iterator

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import CUSTOMRESOURCEDEFINITIONS, TABLE, Resource
from wherry.client.informer import InformerFactory, SharedInformer

_NEEDED = frozenset({"list", "watch", "delete", "get"})
_CUSTOM_VERBS = _NEEDED | {"create", "update", "patch", "deletecollection"}
_SAME = {("events.k8s.io", "events")}
"""Served under a second group, with the same objects as the first."""


def _preferred(versions: list[Resource]) -> Resource:
    def rank(resource: Resource) -> tuple[bool, str]:
        return "alpha" not in resource.version and "beta" not in resource.version, resource.version

    return max(versions, key=rank)


def builtin_resources() -> list[Resource]:
    """Return the built-in resources whose objects can be listed and deleted, in their preferred version."""
    groups: dict[tuple[str, str], list[Resource]] = {}
    for resource in TABLE:
        if resource.verbs >= _NEEDED and (resource.group, resource.plural) not in _SAME:
            groups.setdefault((resource.group, resource.plural), []).append(resource)
    return [_preferred(versions) for versions in groups.values()]


def custom_resource(definition: Object) -> Resource | None:
    """Return the resource that an established CustomResourceDefinition defines, None when it serves none."""
    if not meta.is_true(definition, "Established"):
        return None
    spec = definition["spec"]
    served = [version for version in spec["versions"] if version.get("served")]
    if not served:
        return None
    version = next((version for version in served if version.get("storage")), served[0])
    names = spec["names"]
    return Resource(
        spec["group"],
        version["name"],
        names["plural"],
        names.get("singular", ""),
        names["kind"],
        spec["scope"] == "Namespaced",
        _CUSTOM_VERBS,
    )


class Catalog:
    """Follows the CustomResourceDefinitions.

    `on_add` and `on_remove` are told of each resource, built-in ones at once. `find` translates an owner reference.
    """

    def __init__(
        self,
        informers: InformerFactory,
        *,
        on_add: Callable[[Resource], None] | None = None,
        on_remove: Callable[[Resource], None] | None = None,
    ) -> None:
        self._on_add = on_add
        self._on_remove = on_remove
        self._builtin = builtin_resources()
        self._custom: dict[str, tuple[tuple[object, ...], Resource]] = {}
        self.informer: SharedInformer = informers.informer(CUSTOMRESOURCEDEFINITIONS)
        if on_add is not None:
            for resource in self._builtin:
                on_add(resource)
        self.informer.add_handler(
            on_add=self._changed, on_update=lambda old, new: self._changed(new), on_delete=self._removed
        )

    def __iter__(self) -> Iterator[Resource]:
        yield from self._builtin
        yield from [resource for _, resource in self._custom.values()]

    def find(self, api_version: str, kind: str) -> Resource | None:
        """Return the resource of a kind in whatever version it is served; None when there is no such kind."""
        found = TABLE.for_object(api_version, kind)
        if found is not None:
            return found
        group = api_version.rpartition("/")[0]
        return next((r for _, r in self._custom.values() if r.group == group and r.kind == kind), None)

    def _changed(self, definition: Object) -> None:
        resource = custom_resource(definition)
        name = meta.name(definition)
        if resource is None:
            self._removed(definition)
            return
        shape = (meta.uid(definition), resource.version, resource.kind, resource.namespaced)
        before = self._custom.get(name)
        if before is not None and before[0] == shape:
            return
        self._removed(definition)
        self._custom[name] = (shape, resource)
        if self._on_add is not None:
            self._on_add(resource)

    def _removed(self, definition: Object) -> None:
        before = self._custom.pop(meta.name(definition), None)
        if before is not None and self._on_remove is not None:
            self._on_remove(before[1])
