"""Loading of the definitions that ``kubernetes-validate`` ships, with ``data/gotypes.tsv`` beside them."""

from collections.abc import Iterator
from functools import cache
from importlib import resources as package_data
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from wherry.api.resources import Resource
from wherry.api.schema.types import Emit, Field, Type, TypeSchema

_PREFIXES = (
    "io.k8s.api.",
    "io.k8s.apimachinery.pkg.apis.",
    "io.k8s.apiextensions-apiserver.pkg.apis.",
    "io.k8s.kube-aggregator.pkg.apis.",
)
_SPECIAL: dict[str, Type] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Type("quantity", "resource.Quantity"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Type("int-or-string", "intstr.IntOrString"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": Type("time", "v1.Time"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": Type("micro-time", "v1.MicroTime"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": Type("any", "v1.FieldsV1"),
    "io.k8s.apimachinery.pkg.runtime.RawExtension": Type("any", "runtime.RawExtension"),
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": Type("any", "v1.JSON"),
}
_UNIONS = {
    "JSONSchemaPropsOrBool": "bool",
    "JSONSchemaPropsOrArray": "list",
    "JSONSchemaPropsOrStringArray": "strings",
}
# Server-side apply takes these when an element leaves the key out.
_KEY_DEFAULTS = {"protocol": "TCP"}


@cache
def load(version: str = "1.36") -> "Schema":
    """Return the schema of a Kubernetes minor version; its definitions are read on first use. Shared, never changed.

    Raises KeyError when the version is not known.
    """
    name = f"v{version}.0-local"
    spec = find_spec("kubernetes_validate")  # not imported: the package loads much that is not needed here
    for root in (spec and spec.submodule_search_locations) or ():
        path = Path(root) / "kubernetes-json-schema" / name / "_definitions.json"
        if path.is_file():
            return Schema(path.read_bytes(), version)
    raise KeyError(f"no definitions of Kubernetes {version}")


class Schema:
    """The definitions of one version; types are made when they are first asked for."""

    def __init__(self, raw: bytes, version: str) -> None:
        self.version = version
        self.definitions: dict[str, dict[str, Any]] = orjson.loads(raw)["$defs"]
        self._facts = _facts()
        self._types: dict[str, Type] = {}
        self._kinds: dict[tuple[str, str], TypeSchema] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        for name, definition in self.definitions.items():
            for gvk in definition.get("x-kubernetes-group-version-kind", ()):
                key = (gvk["group"], gvk["version"], gvk["kind"])
                if len(definition["x-kubernetes-group-version-kind"]) == 1 or key not in self._names:
                    self._names[key] = name

    def for_resource(self, resource: Resource) -> TypeSchema:
        """Return the schema of a built-in resource. Raises KeyError when there is no such kind."""
        return self.for_kind(resource.api_version, resource.kind)

    def for_kind(self, api_version: str, kind: str) -> TypeSchema:
        """Return the schema of a built-in kind, the same object at each call. Raises KeyError when there is none."""
        found = self._kinds.get((api_version, kind))
        if found is None:
            group, _, version = api_version.rpartition("/")
            name = self._names[group, version, kind]
            found = self._kinds[api_version, kind] = TypeSchema(api_version, kind, self.type_of(name), name)
        return found

    def definition_name(self, group: str, version: str, kind: str) -> str | None:
        """Return the name of a kind's definition (``io.k8s.api.core.v1.Pod``), None when there is none."""
        return self._names.get((group, version, kind))

    def type_of(self, name: str) -> Type:
        """Return the type of a definition."""
        found = _SPECIAL.get(name) or self._types.get(name)
        if found is not None:
            return found
        short = name.rpartition(".")[2]
        package = name.split(".")[-2]
        if short in _UNIONS:
            found = self._types[name] = Type(
                "one-of", f"{package}.{short}", short, alternatives=frozenset({_UNIONS[short]})
            )
            found.element = self.type_of(name.removesuffix(short) + "JSONSchemaProps")
            return found
        definition = self.definitions[name]
        if "properties" not in definition:
            found = self._types[name] = Type("struct", f"{package}.{short}", short)
            return found
        found = self._types[name] = Type("struct", f"{package}.{short}", short)
        found.atomic = definition.get("x-kubernetes-map-type") == "atomic"
        found.fields = {field.name: field for field in self._fields(name, definition)}
        return found

    def _fields(self, name: str, definition: dict[str, Any]) -> Iterator[Field]:
        facts = self._facts.get(_short(name), {})
        required = set(definition.get("required", ()))
        named = dict(item.split("=", 1) for item in facts.get("type", ()))
        top = "x-kubernetes-group-version-kind" in definition
        for member, schema in definition["properties"].items():
            kind = self._member_type(schema, named.get(member, ""))
            yield Field(
                member,
                kind,
                "omit" if top and member in ("apiVersion", "kind") else _emit(kind, member, facts, required, top=top),
                frozenset(schema.get("x-kubernetes-patch-strategy", "").split(",")) - {""},
                schema.get("x-kubernetes-patch-merge-key", ""),
            )

    def _member_type(self, schema: dict[str, Any], go: str) -> Type:
        if "$ref" in schema:
            target = self.type_of(schema["$ref"].removeprefix("#/$defs/"))
            relation = schema.get("x-kubernetes-map-type")
            if relation is None or target.kind != "struct" or target.atomic == (relation == "atomic"):
                return target
            return Type("struct", target.go, target.name, target.fields, atomic=relation == "atomic")
        kind = schema.get("type", "object")
        kind = kind[0] if isinstance(kind, list) else kind
        match kind:
            case "string" if schema.get("format") == "byte":
                return Type("bytes", go or "[]uint8")
            case "string":
                return Type("string", go or "string")
            case "boolean":
                return Type("boolean", go or "bool")
            case "integer":
                bits = 32 if schema.get("format") == "int32" else 64
                return Type("integer", go or f"int{bits}", bits=bits)
            case "number":
                return Type("number", go or "float64")
            case "array":
                return self._list(schema, go)
        if "additionalProperties" not in schema:
            return Type("any", go)
        element = self._member_type(schema["additionalProperties"], "")
        atomic = schema.get("x-kubernetes-map-type") == "atomic"
        return Type("map", go or f"map[string]{element.go}", element=element, atomic=atomic)

    def _list(self, schema: dict[str, Any], go: str) -> Type:
        element = self._member_type(schema["items"], go.removeprefix("[]"))
        list_type = schema.get("x-kubernetes-list-type", "atomic")
        keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        defaults = {key: _KEY_DEFAULTS[key] for key in keys if key in _KEY_DEFAULTS}
        return Type(
            "list",
            go or f"[]{element.go}",
            element=element,
            list_type=list_type,
            keys=keys,
            key_defaults=defaults,
            atomic=list_type == "atomic",
        )


def _emit(kind: Type, member: str, facts: dict[str, list[str]], required: set[str], *, top: bool) -> Emit:
    """The rule of Go's ``omitempty``: it drops empty scalars, lists, maps and nil pointers, never a struct."""
    pointer = member in facts.get("pointer", ())
    shown = (member in required or member in facts.get("always", ())) and member not in facts.get("omit", ())
    match kind.kind:
        case "struct":
            if kind.name in ("ObjectMeta", "ListMeta") or (top and member in ("spec", "status")):
                return "zero"
            if member in facts.get("value", ()) or (member in required and not pointer):
                return "zero"
            return "null" if shown else "keep"
        case "string" | "boolean" | "integer" | "number":
            if pointer:
                return "null" if shown else "keep"
            return "zero" if shown else "omit"
        case "quantity" | "int-or-string":
            if member in facts.get("value", ()) or (shown and not pointer):
                return "zero"
            return "null" if shown else "keep"
        case "time" | "micro-time":
            return "keep" if pointer or member in facts.get("omit", ()) else "null"
        case "any":
            return "null" if shown or member in facts.get("value", ()) else "keep"
        case "list" | "map" | "bytes":
            return "null" if shown else "omit"
    return "keep"


@cache
def _facts() -> dict[str, dict[str, list[str]]]:
    text = (package_data.files("wherry.api") / "data" / "gotypes.tsv").read_text()
    facts: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "definition\t")):
            name, fact, fields = line.split("\t")
            facts.setdefault(name, {})[fact] = fields.split(" ")
    return facts


def _short(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name
