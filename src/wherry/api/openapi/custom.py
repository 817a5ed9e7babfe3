"""Custom resources in the documents: their structural schemas with the members that every object has.

What is left out and what is added is what apiextensions' ``controller/openapi`` does; much of it spares kubectl, which
takes a schema with properties for a complete one.
"""

from dataclasses import dataclass, field

from wherry.api.openapi.paths import META, Json, Names
from wherry.api.resources import Resource
from wherry.api.schema.load import Schema

_POD = "io.k8s.api.core.v1.Pod"
_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_EMBEDDED_VERSION = (
    f"apiVersion defines the versioned schema of this representation of an object. More info: {_CONVENTIONS}#resources"
)
_EMBEDDED_KIND = (
    f"kind is a string value representing the type of this object. In CamelCase. More info: {_CONVENTIONS}#types-kinds"
)
_GVK = "x-kubernetes-group-version-kind"
_SELECTABLE = "x-kubernetes-selectable-fields"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_FLAGS = frozenset({"nullable", _PRESERVE, _EMBEDDED, _INT_OR_STRING})
_UNPUBLISHED = frozenset({"example", "externalDocs", "id", "$schema", "definitions", "dependencies"})
_JUNCTORS = frozenset({"oneOf", "anyOf", "allOf", "not"})
_INT_OR_STRING_VALUES = [{"type": "integer"}, {"type": "string"}]


@dataclass(frozen=True, slots=True)
class Published:
    """What one version of a definition says: its ``openAPIV3Schema``, and paths (``.spec.color``) to select by."""

    schema: Json = field(default_factory=dict)
    selectable: tuple[str, ...] = ()
    preserve_unknown: bool = False


def custom_names(resource: Resource) -> Names:
    """Return the names of a custom resource's definitions: the group's parts in reverse order."""
    base = ".".join([*reversed(resource.group.split(".")), resource.version])
    return Names(f"{base}.{resource.kind}", f"{base}.{resource.list_kind}")


def custom_schemas(
    resource: Resource, names: Names, published: Published, *, builtin: Schema, version: int = 3
) -> Json:
    """Return the definitions of a custom resource and its list.

    The members that all kinds have are described as those of `builtin` kinds are.
    """
    members = _Members(builtin, version)
    gvk = {"group": resource.group, "version": resource.version}
    kind = _kind(published, members)
    kind[_GVK] = [{**gvk, "kind": resource.kind}]
    if published.selectable:
        kind[_SELECTABLE] = [{"fieldPath": path.removeprefix(".")} for path in published.selectable]
    listed = {
        "description": f"{resource.list_kind} is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **members.type_meta,
            "items": {
                "description": f"List of {resource.plural}. More info: {_CONVENTIONS}",
                "type": "array",
                "items": {"$ref": members.prefix + names.kind},
            },
            "metadata": members.list_meta,
        },
        _GVK: [{**gvk, "kind": resource.list_kind}],
    }
    return {names.kind: kind, names.list_kind: listed}


class _Members:
    """The members of every object and of every list, in one version of OpenAPI."""

    def __init__(self, builtin: Schema, version: int) -> None:
        self.version = version
        self.prefix = "#/definitions/" if version == 2 else "#/components/schemas/"
        pod, pods = builtin.definitions[_POD]["properties"], builtin.definitions[f"{_POD}List"]["properties"]
        self.type_meta = {name: _text(pod[name]["description"]) for name in ("apiVersion", "kind")}
        self.object_meta = self._reference("ObjectMeta", pod["metadata"]["description"])
        self.list_meta = self._reference("ListMeta", pods["metadata"]["description"])
        self.embedded = {
            "apiVersion": _text(_EMBEDDED_VERSION),
            "kind": _text(_EMBEDDED_KIND),
            "metadata": self.object_meta,
        }

    def _reference(self, name: str, description: str) -> Json:
        """Members beside a ``$ref`` mean nothing in OpenAPI v3, so it is wrapped there."""
        reference: Json = {"$ref": f"{self.prefix}{META}{name}"}
        return {"description": description} | (reference if self.version == 2 else {"allOf": [reference]})


def _text(description: str) -> Json:
    return {"type": "string", "description": description}


def _kind(published: Published, members: _Members) -> Json:
    schema = published.schema
    open_root = bool(schema.get(_PRESERVE)) or published.preserve_unknown
    if not schema or (members.version == 2 and open_root):
        return {"type": "object"}
    out = _published(schema, members)
    out["properties"] = (out.get("properties") or {}) | members.type_meta | {"metadata": members.object_meta}
    return out


def _published(schema: Json, members: _Members) -> Json:
    out = {key: value for key, value in schema.items() if key not in _UNPUBLISHED and (value or key not in _FLAGS)}
    if out.get(_INT_OR_STRING):
        _unfold(out)
    if members.version == 2:
        _reduce(out)
    if "properties" in out:
        out["properties"] = {name: _published(member, members) for name, member in out["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = _published(out[key], members)
    if out.get(_EMBEDDED) and not (members.version == 2 and out.get(_PRESERVE)):
        out["properties"] = (out.get("properties") or {}) | members.embedded
        required = out.get("required") or []
        out["required"] = [*required, *(name for name in ("kind", "apiVersion") if name not in required)]
    return out


def _unfold(schema: Json) -> None:
    """Say what an integer or a string may be, unless the schema says it itself."""
    first = (schema.get("allOf") or [{}])[0]
    if _INT_OR_STRING_VALUES in (schema.get("anyOf"), first.get("anyOf")):
        return
    if schema.get("anyOf"):
        schema["allOf"] = [{"anyOf": _INT_OR_STRING_VALUES}, *(schema.get("allOf") or ())]
    else:
        schema["anyOf"] = _INT_OR_STRING_VALUES


def _reduce(schema: Json) -> None:
    """Take away what OpenAPI v2 does not have, and what kubectl cannot cope with beside what is open."""
    nullable = schema.pop("nullable", False)
    for key in _JUNCTORS:
        schema.pop(key, None)
    if nullable or schema.get(_PRESERVE):
        schema.pop("items", None)
        schema.pop("properties", None)
    open_object = schema.get(_PRESERVE) and schema.get("type") == "object"
    if nullable or open_object or (schema.get("type") == "array" and "items" not in schema):
        schema.pop("type", None)
    _require_values(schema)


def _require_values(schema: Json) -> None:
    """Require no member that may be null."""
    values = schema.get("additionalProperties")
    properties = schema.get("properties") or {}
    required = [name for name in schema.get("required") or () if not properties.get(name, {}).get("nullable")]
    if not required or (isinstance(values, dict) and values.get("nullable")):
        schema.pop("required", None)
    else:
        schema["required"] = required
