"""The versions of one kind as field tracking asks for them: each manager's fields are told in the version it wrote."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson

from wherry.api import managedfields
from wherry.api.resources import Resource
from wherry.api.schema import TypeSchema
from wherry.apiserver import heavy
from wherry.apiserver.api import Api
from wherry.apiserver.conversion import Conversion

Object = dict[str, Any]
T = TypeVar("T")
Known = tuple[Resource, Conversion | None]


class KindVersions:
    """Implements `managedfields.Versions` for the kind of `resource`; what a webhook made is kept."""

    def __init__(self, api: Api, resource: Resource) -> None:
        self._api = api
        self._resource = resource
        self._found: dict[str, Known | None] = {}
        self._made: dict[tuple[bytes, str], Object] = {}

    def resource(self, api_version: str) -> Resource | None:
        """Return the resource of a version, None when the kind has no such version."""
        found = self._find(api_version)
        return None if found is None else found[0]

    def schema(self, api_version: str) -> TypeSchema | None:
        """Return the schema of a version, None when the kind has no such version."""
        found = self._find(api_version)
        if found is None:
            return None
        schema: TypeSchema = self._api.schema(found[0])
        return schema

    def convert(self, obj: Object, api_version: str) -> Object:
        """Return `obj` in another version. Raises Unconverted when a webhook has to be asked first (`fetch`)."""
        if obj["apiVersion"] == api_version:
            return obj
        source, target = self._find(obj["apiVersion"]), self._find(api_version)
        assert source is not None and target is not None
        conversion = target[1]
        if source[0].custom is not None and conversion is not None:
            if conversion.fetch is None:
                return self._renamed(obj, api_version)
            found = self._made.get((_digest(obj), api_version))
            if found is None:
                raise managedfields.Unconverted(obj, api_version)
            return found
        obj = self._api.schema(source[0]).conform(obj).obj
        stored = source[1].to_stored(obj) if source[1] is not None else obj
        return conversion.from_stored(stored) if conversion is not None else stored

    def _renamed(self, obj: Object, api_version: str) -> Object:
        """Return a custom resource that no webhook converts. Raises Undeclared: nothing is pruned on this way."""
        obj = {**obj, "apiVersion": api_version}
        schema = self.schema(api_version)
        assert schema is not None
        errors = managedfields.typed_errors(schema.root, obj, duplicates=True)
        if errors:
            raise managedfields.Undeclared(managedfields.join_errors(errors))
        return obj

    async def fetch(self, missing: managedfields.Unconverted) -> None:
        """Have a webhook make what was missing. Raises StatusError when it fails."""
        found = self._find(missing.api_version)
        assert found is not None and found[1] is not None
        fetch: Callable[[list[Object]], Awaitable[list[Object]]] | None = found[1].fetch
        assert fetch is not None
        self._made[_digest(missing.obj), missing.api_version] = (await fetch([missing.obj]))[0]

    def _find(self, api_version: str) -> Known | None:
        if api_version not in self._found:
            self._found[api_version] = self._look_up(api_version)
        return self._found[api_version]

    def _look_up(self, api_version: str) -> Known | None:
        registry, resource = self._api.registry, self._resource
        own = registry.conversions.get(resource)
        if api_version == resource.api_version:
            return resource, own
        if own is not None and own.sibling is not None:
            return own.sibling(api_version)
        found = registry.table.for_object(api_version, resource.kind)
        if found is None or registry.stored(found) is not registry.stored(resource):
            return None
        return found, registry.conversions.get(found)


async def settled(api: Api, resource: Resource, size: int, work: Callable[[KindVersions], T]) -> T:
    """Return what `work` returns, which is called again after each conversion that it had to wait for.

    `size` is that of the request's body, as for `heavy.run`. Raises what `work` raises, and StatusError.
    """
    versions = KindVersions(api, resource)
    while True:
        try:
            return await heavy.run(size, lambda: work(versions))
        except managedfields.Unconverted as missing:
            await versions.fetch(missing)


def _digest(obj: Object) -> bytes:
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)
