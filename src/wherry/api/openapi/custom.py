"""Custom resources in the documents: their structural schemas with the members that every object has."""

from typing import Any

from wherry.api.openapi.paths import META, Json, Names
from wherry.api.resources import Resource

_KIND_TEXT = "Kind is a string value representing the REST resource this object represents."
_VERSION_TEXT = "APIVersion defines the versioned schema of this representation of an object."
# Keywords that OpenAPI v2 does not have, or that mean other things to its readers.
_V2_DROPPED = frozenset({"oneOf", "anyOf", "allOf", "not", "nullable", "default"})


def custom_names(resource: Resource) -> Names:
    """Return the names of a custom resource's definitions: the group's parts in reverse order."""
    base = ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
    return Names(base, f"{base}List")


def custom_schemas(resource: Resource, names: Names, schema: Json, *, version: int = 3) -> Json:
    """Return the definitions of a custom resource and its list."""
    prefix = "#/definitions/" if version == 2 else "#/components/schemas/"
    gvk = {"group": resource.group, "version": resource.version}
    kind = _object(schema, prefix, version)
    kind["x-kubernetes-group-version-kind"] = [{**gvk, "kind": resource.kind}]
    items = {"description": f"List of {resource.plural}.", "type": "array", "items": {"$ref": prefix + names.kind}}
    listed = {
        "description": f"{resource.kind}List is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": _VERSION_TEXT},
            "items": items,
            "kind": {"type": "string", "description": _KIND_TEXT},
            "metadata": {"$ref": f"{prefix}{META}ListMeta"},
        },
        "x-kubernetes-group-version-kind": [{**gvk, "kind": f"{resource.kind}List"}],
    }
    return {names.kind: kind, names.list_kind: listed}


def _object(schema: Json, prefix: str, version: int) -> Json:
    out: Json = _for_version(schema, version)
    if out.get("x-kubernetes-preserve-unknown-fields") and version == 2 and not out.get("properties"):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties = dict(out.get("properties") or {})
    properties["apiVersion"] = {"type": "string", "description": _VERSION_TEXT}
    properties["kind"] = {"type": "string", "description": _KIND_TEXT}
    metadata: Json = {"$ref": f"{prefix}{META}ObjectMeta"}
    properties["metadata"] = metadata if version == 2 else {"allOf": [metadata]}
    out["type"] = "object"
    out["properties"] = properties
    return out


def _for_version(schema: Any, version: int) -> Any:
    if version == 3:
        return dict(schema)
    out = {}
    for key, value in schema.items():
        if key in _V2_DROPPED:
            continue
        if key == "properties":
            out[key] = {name: _for_version(member, version) for name, member in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = _for_version(value, version)
        else:
            out[key] = value
    if schema.get("nullable") or schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    return out
