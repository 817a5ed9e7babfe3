"""Types of custom resources: a structural OpenAPI v3 schema as a tree of `Type`."""

from typing import Any

from wherry.api.schema.load import load
from wherry.api.schema.types import Field, Type, TypeSchema

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def from_openapi(
    openapi: dict[str, Any] | None, *, api_version: str, kind: str, preserve_unknown: bool = False
) -> TypeSchema:
    """Return the schema of a custom resource. `openapi` is its ``openAPIV3Schema``, None when it has none.

    ``conform`` then prunes what the schema does not name and brings ``metadata`` into form; whether values have the
    types of the schema is for validation.
    """
    schema = openapi or {}
    keep = preserve_unknown or openapi is None or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    root = Type("struct", f"unstructured.{kind}", kind, keep_unknown=keep)
    for name, member in (schema.get("properties") or {}).items():
        if name not in ("apiVersion", "kind", "metadata"):
            root.fields[name] = Field(name, _type(member), "omit")
    root.fields["apiVersion"] = Field("apiVersion", Type("string", "string"), "keep")
    root.fields["kind"] = Field("kind", Type("string", "string"), "keep")
    root.fields["metadata"] = Field("metadata", load().type_of(_META), "zero")
    return TypeSchema(api_version, kind, root, structural=schema)


def _type(schema: dict[str, Any]) -> Type:
    if schema.get("x-kubernetes-int-or-string"):
        return Type("int-or-string", "intstr.IntOrString", atomic=True)
    keep = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    match schema.get("type"):
        case "object":
            return _object(schema, keep)
        case "array":
            return _array(schema)
        case "string" | "integer" | "number" | "boolean" as name:
            return Type(name, str(name), atomic=True)
    if schema.get("properties"):
        return _object(schema, keep)
    return Type("any")


def _object(schema: dict[str, Any], keep: bool) -> Type:
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    additional = schema.get("additionalProperties")
    properties = schema.get("properties") or {}
    if not properties and isinstance(additional, dict):
        return Type("map", "map", element=_type(additional), atomic=atomic)
    embedded = schema.get("x-kubernetes-embedded-resource")
    if not properties and not embedded and (keep or additional is True):
        return Type("any", atomic=atomic)
    found = Type("struct", "object", "object", atomic=atomic, keep_unknown=keep)
    for name, member in properties.items():
        found.fields[name] = Field(name, _type(member), "omit")
    if embedded:
        string = Type("string", "string")
        found.fields.setdefault("apiVersion", Field("apiVersion", string, "keep"))
        found.fields.setdefault("kind", Field("kind", string, "keep"))
        found.fields["metadata"] = Field("metadata", load().type_of(_META), "keep")
    return found


def _array(schema: dict[str, Any]) -> Type:
    list_type = schema.get("x-kubernetes-list-type", "atomic")
    items = schema.get("items") or {}
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    properties = items.get("properties") or {}
    defaults = {key: properties[key]["default"] for key in keys if "default" in properties.get(key, {})}
    return Type(
        "list",
        "array",
        element=_type(items),
        list_type=list_type,
        keys=keys,
        key_defaults=defaults,
        atomic=list_type == "atomic",
    )
