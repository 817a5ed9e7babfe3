"""Assembling and keeping the documents."""

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson

from wherry.api.openapi import protobuf, protobuf3
from wherry.api.openapi.convert import definition_v2, definition_v3, references
from wherry.api.openapi.custom import Published, custom_names, custom_schemas
from wherry.api.openapi.paths import META, Json, Names, PathBuilder
from wherry.api.resources import Resource, ResourceTable
from wherry.api.schema.load import Schema

_SHARED = tuple(META + kind for kind in ("APIResourceList", "DeleteOptions", "Patch", "Status", "WatchEvent"))
_GROUPS = tuple(META + kind for kind in ("APIGroup", "APIGroupList", "APIVersions"))
_INFO = "io.k8s.apimachinery.pkg.version.Info"
_BEARER = {"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"}
_SINGLE = {
    ".well-known/openid-configuration": "/.well-known/openid-configuration/",
    "openid/v1/jwks": "/openid/v1/jwks/",
    "version": "/version/",
}


class Documents:
    """The documents of one server. Not thread-safe, but that `v2` and `v2_protobuf` may run beside the rest.

    What is told while these make their document is in the next one: each is kept with what was told before it.
    """

    def __init__(self, schema: Schema, table: ResourceTable | Iterable[Resource], *, git_version: str) -> None:
        self._schema = schema
        self._table = [*table]
        self._version = git_version
        self._custom: dict[Resource, Published] = {}
        self._told = 0
        self._v2: tuple[int, bytes] | None = None
        self._v2_protobuf: tuple[int, bytes] | None = None
        self._v3: dict[str, bytes] = {}
        self._v3_hashes: dict[str, tuple[bytes, str]] = {}
        self._v3_protobuf: dict[str, tuple[bytes, bytes]] = {}
        self._index: bytes | None = None
        self._others_v2: list[tuple[str, Json]] = []
        self._others_v3: dict[str, str] = {}

    def set_custom(self, resource: Resource, published: Published) -> None:
        """Add or replace a custom resource."""
        self._custom[resource] = published
        self._forget(resource)

    def remove_custom(self, resource: Resource) -> None:
        """Take a custom resource out again."""
        if self._custom.pop(resource, None) is not None:
            self._forget(resource)

    def set_others(self, v2: list[tuple[str, Json]], v3: dict[str, str]) -> None:
        """Merge what other servers serve: v2 documents, each with the path it counts for, and addresses of v3 ones."""
        if (v2, v3) != (self._others_v2, self._others_v3):
            self._others_v2, self._others_v3 = v2, v3
            self._told += 1
            self._index = None

    def _forget(self, resource: Resource) -> None:
        self._told += 1
        self._index = None
        for name in (_root(resource), f"apis/{resource.group}"):
            for kept in (self._v3, self._v3_hashes, self._v3_protobuf):
                kept.pop(name, None)

    def v3_index(self) -> bytes:
        """Return ``/openapi/v3``: the address of each document, with a hash of its content."""
        if self._index is None:
            paths = {}
            for name in self.v3_names():
                paths[name] = {"serverRelativeURL": self.v3_url(name, self.v3(name) or b"")}
            paths |= {name: {"serverRelativeURL": url} for name, url in self._others_v3.items()}
            self._index = orjson.dumps({"paths": dict(sorted(paths.items()))})
        return self._index

    def v3_names(self) -> list[str]:
        """Return the names of the v3 documents."""
        return sorted(self._names())

    def v3(self, name: str) -> bytes | None:
        """Return the document of ``api/v1``, ``apis/apps/v1``, ``apis`` and so on, None when there is none."""
        found = self._v3.get(name)
        if found is None and name in self._names():
            found = self._v3[name] = orjson.dumps(self._make_v3(name))
        return found

    def v3_hash(self, name: str, document: bytes) -> str:
        """Return the hash of a v3 document as it is now, which stands for all its forms."""
        kept = self._v3_hashes.get(name)
        if kept is None or kept[0] is not document:
            kept = self._v3_hashes[name] = (document, hashlib.sha256(document).hexdigest().upper())
        return kept[1]

    def v3_url(self, name: str, document: bytes) -> str:
        """Return where a v3 document as it is now may be read, and then kept for ever."""
        return f"/openapi/v3/{name}?hash={self.v3_hash(name, document)}"

    def v3_protobuf(self, name: str, document: bytes) -> bytes:
        """Return a v3 document in gnostic's protobuf; may run beside the rest."""
        kept = self._v3_protobuf.get(name)
        if kept is None or kept[0] is not document:
            kept = self._v3_protobuf[name] = (document, protobuf3.encode(orjson.loads(document)))
        return kept[1]

    def v2(self) -> bytes:
        """Return ``/openapi/v2``."""
        kept, told = self._v2, self._told
        if kept is None or kept[0] != told:
            kept = self._v2 = (told, orjson.dumps(self._make_v2()))
        return kept[1]

    def v2_protobuf(self) -> bytes:
        """Return ``/openapi/v2`` in gnostic's protobuf."""
        kept, told = self._v2_protobuf, self._told
        if kept is None or kept[0] != told:
            kept = self._v2_protobuf = (told, protobuf.encode(self._make_v2()))
        return kept[1]

    def _resources(self) -> list[Resource]:
        return [*self._table, *list(self._custom)]

    def _names(self) -> set[str]:
        names = {"api", "apis", *_SINGLE}
        for resource in self._resources():
            names.add(_root(resource))
            if resource.group:
                names.add(f"apis/{resource.group}")
        return names

    def _make_v3(self, name: str) -> Json:
        resources = sorted((one for one in self._resources() if _root(one) == name), key=lambda one: one.plural)
        if not resources:
            return self._document({_SINGLE.get(name, f"/{name}/"): self._single(name)}, {})
        paths = {f"/{name}/": {"get": _discovery(name, META + "APIResourceList")}}
        schemas: Json = {}
        wanted = set(_SHARED)
        for resource in resources:
            names = self._names_of(resource)
            custom = self._custom.get(resource)
            paths |= PathBuilder(resource, names, version=3, custom=custom is not None).build()
            if custom is not None:
                schemas |= custom_schemas(resource, names, custom, builtin=self._schema)
                wanted.add(META + "ObjectMeta")
                wanted.add(META + "ListMeta")
            wanted |= {names.kind, names.list_kind}
        wanted |= {text for item in paths.values() for text in _references_of(item)}
        schemas |= {one: definition_v3(self._schema, one) for one in self._closure(wanted)}
        return self._document(dict(sorted(paths.items())), dict(sorted(schemas.items())))

    def _single(self, name: str) -> Json:
        if name in ("api", "apis"):
            return {"get": _discovery(name, META + ("APIVersions" if name == "api" else "APIGroupList"))}
        return {"get": _discovery(name, META + "APIGroup" if name.startswith("apis/") else _INFO)}

    def _document(self, paths: Json, schemas: Json) -> Json:
        if not schemas:
            schemas = {one: definition_v3(self._schema, one) for one in self._closure({*_GROUPS, _INFO})}
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": self._version},
            "paths": paths,
            "components": {"schemas": schemas, "securitySchemes": {"BearerToken": _BEARER}},
        }

    def _make_v2(self) -> Json:
        paths: Json = {}
        definitions: Json = {}
        wanted = {*_SHARED, *_GROUPS, _INFO}
        customs = self._custom.copy()
        for resource in (*self._table, *customs):
            custom = customs.get(resource)
            names = custom_names(resource) if custom is not None else self._names_of(resource)
            paths |= PathBuilder(resource, names, version=2, custom=custom is not None).build()
            if custom is not None:
                definitions |= custom_schemas(resource, names, custom, builtin=self._schema, version=2)
            wanted |= {names.kind, names.list_kind}
        wanted |= {text for item in paths.values() for text in _references_of(item)}
        definitions |= {one: definition_v2(self._schema, one) for one in self._closure(wanted)}
        for root, document in self._others_v2:
            more, needed = _part_of(document, root)
            paths, definitions = more | paths, needed | definitions
        return {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": self._version},
            "paths": dict(sorted(paths.items())),
            "definitions": dict(sorted(definitions.items())),
            "securityDefinitions": {"BearerToken": _BEARER},
            "security": [{"BearerToken": []}],
        }

    def _names_of(self, resource: Resource) -> Names:
        if resource in self._custom:
            return custom_names(resource)
        kind = self._schema.definition_name(resource.group, resource.version, resource.kind) or ""
        return Names(kind, f"{kind}List")

    def _closure(self, names: set[str]) -> list[str]:
        """Return the built-in definitions among `names` and all that they refer to."""
        todo = [name for name in names if name in self._schema.definitions]
        found: set[str] = set()
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += references(self._schema.definitions[name])
        return sorted(found)


def _part_of(document: Json, root: str) -> tuple[Json, Json]:
    """Return the paths of a v2 document at and below `root`, and the definitions that these need."""
    paths = {
        path: item
        for path, item in (document.get("paths") or {}).items()
        if path.rstrip("/") == root or path.startswith(f"{root}/")
    }
    known, needed = document.get("definitions") or {}, {}
    todo = sorted({name for item in paths.values() for name in _references_of(item)})
    while todo:
        name = todo.pop()
        if name in known and name not in needed:
            needed[name] = known[name]
            todo += sorted(_references_of(known[name]))
    return paths, needed


def _root(resource: Resource) -> str:
    return f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"


def _references_of(value: Any) -> set[str]:
    return {reference.rpartition("/")[2] for reference in references(value)}


def _discovery(name: str, kind: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{kind}"}
    return {
        "tags": [name.replace("/", "_")],
        "description": "get available resources" if kind.endswith("ResourceList") else "get information",
        "operationId": "get" + "".join(part.title() for part in name.replace(".", "/").split("/")),
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": schema}}},
            "401": {"description": "Unauthorized"},
        },
    }
