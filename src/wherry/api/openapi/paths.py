"""The paths of a resource with their operations, for OpenAPI v2 and v3 (apiserver ``endpoints/installer``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.api.resources import Resource, Subresource

Json = dict[str, Any]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_JSON, _YAML, _PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_BODIES = (_JSON, _YAML, _PROTOBUF)
_LISTS = (*_BODIES, f"{_JSON};stream=watch", f"{_PROTOBUF};stream=watch")
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_CUSTOM_PATCHES = tuple(kind for kind in _PATCHES if "strategic" not in kind)
_SELECTION = (
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
)
_WRITING = (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"))
_DELETING = (
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
)
_CONNECTS = frozenset({"attach", "exec", "portforward", "proxy"})
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_CONNECT_METHODS = {
    "attach": ("get", "post"),
    "exec": ("get", "post"),
    "portforward": ("get", "post"),
    "proxy": _METHODS,
}


@dataclass(frozen=True, slots=True)
class Names:
    """How a resource's schemas are called: of the object and of its list."""

    kind: str
    list_kind: str


class PathBuilder:
    """Makes the paths of one resource. `version` is 2 or 3: it decides how bodies and parameters are written."""

    def __init__(self, resource: Resource, names: Names, *, version: int, custom: bool = False) -> None:
        self._resource = resource
        self._names = names
        self._version = version
        self._custom = custom
        self.paths: dict[str, Json] = {}

    def build(self) -> dict[str, Json]:
        """Return the path items by path."""
        resource = self._resource
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        scoped = (
            f"{root}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else f"{root}/{resource.plural}"
        )
        self._collection(root, scoped)
        if resource.verbs & {"get", "update", "patch", "delete"}:
            self._object(scoped)
        for name, subresource in sorted(resource.subresources.items()):
            self._subresource(f"{scoped}/{{name}}/{name}", name, subresource)
        if "watch" in resource.verbs:
            self._watches(root)
        return self.paths

    def _collection(self, root: str, scoped: str) -> None:
        resource = self._resource
        item: Json = {}
        if "list" in resource.verbs:
            item["get"] = self._list("list", "list")
        if "create" in resource.verbs:
            item["post"] = self._write("post", "create", "create", (200, 201, 202))
        if "deletecollection" in resource.verbs:
            item["delete"] = self._delete("deletecollection", "delete collection of", META + "Status")
        if item:
            self._add(scoped, item)
        if resource.namespaced and "list" in resource.verbs:
            self._add(f"{root}/{resource.plural}", {"get": self._list("list", "list", everywhere=True)})

    def _object(self, scoped: str) -> None:
        verbs = self._resource.verbs
        item: Json = {}
        if "get" in verbs:
            item["get"] = self._operation("get", "read", "read the specified", {200: self._names.kind})
        if "update" in verbs:
            item["put"] = self._write("put", "replace", "replace the specified", (200, 201))
        if "delete" in verbs:
            item["delete"] = self._delete("delete", "delete", META + "Status")
        if "patch" in verbs:
            item["patch"] = self._patch("patch")
        self._add(f"{scoped}/{{name}}", item)

    def _subresource(self, path: str, name: str, subresource: Subresource) -> None:
        if name in _CONNECTS:
            for suffix in ("", "/{path}") if name == "proxy" else ("",):
                connects = {method: self._connect(method, name) for method in _CONNECT_METHODS[name]}
                self._add(path + suffix, connects)
            return
        kind = self._names.kind
        if subresource.kind != self._resource.kind:
            kind = _definition(subresource.group, subresource.version, subresource.kind)
        item: Json = {}
        verbs = subresource.verbs
        if "get" in verbs:
            read = None if name == "log" else kind
            item["get"] = self._operation("get", "read", f"read {name} of the specified", {200: read}, sub=name)
        if "update" in verbs:
            item["put"] = self._write(
                "put", "replace", f"replace {name} of the specified", (200, 201), kind=kind, sub=name
            )
        if "create" in verbs:
            item["post"] = self._write("post", "create", f"create {name} of", (200, 201, 202), kind=kind, sub=name)
        if "patch" in verbs:
            item["patch"] = self._patch(f"partially update {name} of the specified", kind=kind, sub=name)
        self._add(path, item)

    def _watches(self, root: str) -> None:
        resource = self._resource
        event = META + "WatchEvent"
        watch = f"{root}/watch"
        inside = f"{watch}/namespaces/{{namespace}}" if resource.namespaced else watch
        paths = [f"{inside}/{resource.plural}"]
        if "get" in resource.verbs:
            paths.append(f"{inside}/{resource.plural}/{{name}}")
        if resource.namespaced:
            paths.append(f"{watch}/{resource.plural}")
        for path in paths:
            action = "watch" if path.endswith("{name}") else "watchlist"
            get = self._operation(action, "watch", "watch changes to an object of", {200: event}, media=_LISTS)
            get["parameters"] = self._parameters(_SELECTION)
            self._add(path, {"get": get})

    def _add(self, path: str, item: Json) -> None:
        if not item:
            return
        parameters = [
            _path_parameter(name, self._version) for name in ("name", "namespace", "path") if f"{{{name}}}" in path
        ]
        if not self._is_connect(path):
            parameters += self._parameters((("pretty", "string"),))
        self.paths[path] = {**item, "parameters": parameters}

    def _is_connect(self, path: str) -> bool:
        return path.rstrip("/{path}").rpartition("/")[2] in _CONNECTS

    def _list(self, action: str, verb: str, *, everywhere: bool = False) -> Json:
        operation = self._operation(
            action,
            verb,
            "list or watch objects of",
            {200: self._names.list_kind},
            media=_LISTS,
            suffix="ForAllNamespaces" if everywhere else "",
        )
        operation["parameters"] = self._parameters(_SELECTION)
        return operation

    def _write(
        self, action: str, verb: str, text: str, codes: tuple[int, ...], *, kind: str = "", sub: str = ""
    ) -> Json:
        kind = kind or self._names.kind
        operation = self._operation(action, verb, text, dict.fromkeys(codes, kind), sub=sub)
        operation["parameters"] = self._parameters(_WRITING)
        self._put_body(operation, kind, ("*/*",))
        return operation

    def _patch(self, text: str, *, kind: str = "", sub: str = "") -> Json:
        kind = kind or self._names.kind
        operation = self._operation("patch", "patch", text, {200: kind, 201: kind}, sub=sub)
        operation["parameters"] = self._parameters((*_WRITING, ("force", "boolean")))
        self._put_body(operation, META + "Patch", _CUSTOM_PATCHES if self._custom else _PATCHES)
        return operation

    def _delete(self, action: str, text: str, kind: str) -> Json:
        verb = "deleteCollection" if action == "deletecollection" else "delete"
        codes = {200: kind} if action == "deletecollection" else {200: kind, 202: kind}
        operation = self._operation(action, verb, text, codes)
        extra = _SELECTION[1:9] if action == "deletecollection" else ()
        operation["parameters"] = self._parameters((*_DELETING, *extra))
        self._put_body(operation, META + "DeleteOptions", ("*/*",), required=False)
        return operation

    def _connect(self, method: str, name: str) -> Json:
        operation = self._operation(
            "connect",
            f"connect{method.title()}",
            f"connect {method.upper()} requests to {name} of",
            {200: None},
            media=("*/*",),
            sub=name,
        )
        return operation

    def _operation(
        self,
        action: str,
        verb: str,
        text: str,
        responses: Mapping[int, str | None],
        *,
        media: tuple[str, ...] = _BODIES,
        sub: str = "",
        suffix: str = "",
    ) -> Json:
        resource = self._resource
        group = (resource.group.partition(".")[0] or "core").title()
        namespaced = "Namespaced" if resource.namespaced and not suffix else ""
        identifier = f"{verb}{group}{resource.version.title()}{namespaced}{resource.kind}{sub.title()}{suffix}"
        operation: Json = {
            "tags": [f"{resource.group.partition('.')[0] or 'core'}_{resource.version}"],
            "description": f"{text} {resource.kind}",
            "operationId": identifier,
            "responses": {str(code): self._response(code, kind, media) for code, kind in responses.items()},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self._gvk(sub),
        }
        operation["responses"]["401"] = {"description": "Unauthorized"}
        if self._version == 2:
            operation |= {"consumes": ["*/*"], "produces": list(media), "schemes": ["https"]}
        return operation

    def _gvk(self, sub: str) -> Json:
        """Return what an operation works with. Clients look operations up by it: a proxy is none on the object."""
        of = self._resource.subresources[sub] if sub else self._resource
        return {"group": of.group, "version": of.version, "kind": of.kind}

    def _response(self, code: int, kind: str | None, media: tuple[str, ...]) -> Json:
        out: Json = {"description": {200: "OK", 201: "Created", 202: "Accepted"}[code]}
        schema = {"type": "string"} if kind is None else self._ref(kind)
        if self._version == 2:
            out["schema"] = schema
        else:
            out["content"] = {one: {"schema": schema} for one in media}
        return out

    def _put_body(self, operation: Json, kind: str, media: tuple[str, ...], *, required: bool = True) -> None:
        if self._version == 2:
            body: Json = {"name": "body", "in": "body", "schema": self._ref(kind)}
            operation["parameters"].insert(0, {**body, "required": True} if required else body)
            if media != ("*/*",):
                operation["consumes"] = list(media)
        else:
            operation["requestBody"] = {"content": {one: {"schema": self._ref(kind)} for one in media}}
            if required:
                operation["requestBody"]["required"] = True

    def _ref(self, kind: str) -> Json:
        return {"$ref": ("#/definitions/" if self._version == 2 else "#/components/schemas/") + kind}

    def _parameters(self, pairs: tuple[tuple[str, str], ...]) -> list[Json]:
        return [_query_parameter(name, kind, self._version) for name, kind in pairs]


def _definition(group: str, version: str, kind: str) -> str:
    package = group.partition(".")[0] or "core"
    return f"io.k8s.api.{package}.{version}.{kind}"


def _query_parameter(name: str, kind: str, version: int) -> Json:
    if version == 2:
        return {"name": name, "in": "query", "type": kind, "uniqueItems": True}
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}


def _path_parameter(name: str, version: int) -> Json:
    text = {"name": "name of the object", "namespace": "object name and auth scope", "path": "path to the resource"}[
        name
    ]
    out: Json = {"name": name, "in": "path", "description": text, "required": True}
    if version == 2:
        return {**out, "type": "string", "uniqueItems": True}
    return {**out, "schema": {"type": "string", "uniqueItems": True}}
