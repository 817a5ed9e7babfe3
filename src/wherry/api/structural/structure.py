"""Whether a schema is structural: every field has one type, and values are constrained without adding fields.

The rules of apiextensions ``schema/validation.go`` and ``schema/complete.go``.
"""

from typing import Any

from wherry.api import field
from wherry.api.cel.regex import PatternError, compile_pattern
from wherry.api.field import FieldError

Schema = dict[str, Any]
Errors = list[FieldError]

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_FORBIDDEN_INSIDE = (
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (_PRESERVE, "must be false to be structural"),
    (_EMBEDDED, "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)
_NO_TYPE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


_UNSUPPORTED = {
    "id": "'id'",
    "$schema": "'schema'",
    "$ref": "'$ref'",
    "patternProperties": "'patternProperties'",
    "dependencies": "'dependencies'",
    "additionalItems": "'additionalItems'",
    "definitions": "'definitions'",
}
"""What no schema here may have, and how an error names it."""


def unsupported(schema: Schema) -> str:
    """Return why a schema cannot be read as a structural one at all, the empty string if it can."""
    for member, shown in _UNSUPPORTED.items():
        if schema.get(member) or (member == "additionalItems" and schema.get(member) is not None):
            return f"OpenAPIV3Schema {shown} is not supported"
    if schema.get(_PRESERVE) is False:
        return f"internal error: '{_PRESERVE}' must be true or undefined"
    inner = [schema.get("not"), *(one for name in ("allOf", "anyOf", "oneOf") for one in schema.get(name) or ())]
    items = schema.get("items")
    if isinstance(items, list) and items:
        return "OpenAPIV3Schema 'items' must be a schema, but is an array"
    inner += [items, *(schema.get("properties") or {}).values(), schema.get("additionalProperties")]
    return next((found for one in inner if isinstance(one, dict) and (found := unsupported(one))), "")


def structure_errors(schema: Schema, path: str) -> Errors:
    """Return why a schema is not structural, in the order of the messages."""
    errors: Errors = []
    _invariants(schema, "root", path, errors)
    _value_rules(schema, schema, path, path, errors)
    return sorted(errors, key=str)


def _invariants(schema: Schema, level: str, path: str, errors: Errors) -> None:
    kind = schema.get("type") or ""
    items, additional = schema.get("items"), schema.get("additionalProperties")
    properties = schema.get("properties") or {}
    if kind == "array" and items is None:
        errors.append(field.required(f"{path}.items", "must be specified"))
    if isinstance(items, dict):
        _invariants(items, "item", f"{path}.items", errors)
    for name, member in properties.items():
        _invariants(member, "field", f"{path}.properties[{name}]", errors)
    if additional is not None:
        if level == "root":
            errors.append(field.forbidden(f"{path}.additionalProperties", "must not be used at the root"))
        if isinstance(additional, dict):
            _invariants(additional, "field", f"{path}.additionalProperties", errors)
    _extensions(schema, path, errors)
    skip_any = schema.get("anyOf") == _INT_OR_STRING
    all_of: list[Schema] = schema.get("allOf") or []
    skip_all = bool(all_of) and all_of[0].get("anyOf") == _INT_OR_STRING
    _junctors(schema, path, errors, skip_any=skip_any, skip_all=skip_all)
    _types(schema, level, path, errors)
    _metadata(properties, level, path, bool(level == "root" or schema.get(_EMBEDDED)), errors)
    if schema.get(_EMBEDDED) and not schema.get(_PRESERVE) and not properties:
        detail = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
        errors.append(field.required(f"{path}.properties", detail))


def _extensions(schema: Schema, path: str, errors: Errors) -> None:
    if schema.get("x-kubernetes-int-or-string"):
        for name in (_PRESERVE, _EMBEDDED):
            if schema.get(name):
                detail = "must be false if x-kubernetes-int-or-string is true"
                errors.append(field.invalid(f"{path}.{name}", True, detail))


def _types(schema: Schema, level: str, path: str, errors: Errors) -> None:
    kind = schema.get("type") or ""
    embedded = bool(schema.get(_EMBEDDED))
    if embedded and kind != "object":
        detail = f"must be object if {_EMBEDDED} is true"
        place = f"{path}.type"
        errors.append(field.invalid(place, kind, detail) if kind else field.required(place, detail))
    elif not kind and not schema.get("x-kubernetes-int-or-string") and not schema.get(_PRESERVE):
        errors.append(field.required(f"{path}.type", _NO_TYPE[level]))
    if embedded and schema.get("additionalProperties") is not None:
        errors.append(field.forbidden(f"{path}.additionalProperties", f"must not be used if {_EMBEDDED} is set"))
    if level == "root" and kind and kind != "object":
        errors.append(field.invalid(f"{path}.type", kind, "must be object at the root"))


def _metadata(properties: Schema, level: str, path: str, checked: bool, errors: Errors) -> None:
    for name in ("kind", "apiVersion"):
        if checked and name in properties and properties[name].get("type") != "string":
            place = f"{path}.properties[{name}].type"
            errors.append(field.invalid(place, properties[name].get("type") or "", "must be string"))
    metadata = properties.get("metadata")
    if metadata is None:
        return
    place = f"{path}.properties[metadata]"
    if checked and metadata.get("type") != "object":
        errors.append(field.invalid(f"{place}.type", metadata.get("type") or "", "must be object"))
    if level == "root":
        rest = {key: value for key, value in metadata.items() if key not in ("type", "default", "properties")}
        if rest or not (metadata.get("properties") or {}).keys() <= {"name", "generateName"}:
            detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            errors.append(field.forbidden(place, detail))


def _junctors(schema: Schema, path: str, errors: Errors, *, skip_any: bool = False, skip_all: bool = False) -> None:
    """Check what is below ``anyOf``, ``allOf``, ``oneOf`` and ``not``; `skip…` pass over how IntOrString is written."""
    if not skip_any:
        for at, inner in enumerate(schema.get("anyOf") or ()):
            _nested(inner, f"{path}.anyOf[{at}]", errors)
    for at, inner in enumerate(schema.get("allOf") or ()):
        _nested(inner, f"{path}.allOf[{at}]", errors, skip_any=skip_all and at == 0)
    for at, inner in enumerate(schema.get("oneOf") or ()):
        _nested(inner, f"{path}.oneOf[{at}]", errors)
    if isinstance(schema.get("not"), dict):
        _nested(schema["not"], f"{path}.not", errors)
    pattern = schema.get("pattern") or ""
    try:
        compile_pattern(pattern)
    except PatternError as error:
        detail = f"must be a valid regular expression, but isn't: {error}"
        errors.append(field.invalid(f"{path}.pattern", pattern, detail))


def _nested(schema: Schema, path: str, errors: Errors, *, skip_any: bool = False) -> None:
    _junctors(schema, path, errors, skip_any=skip_any)
    if isinstance(schema.get("items"), dict):
        _nested(schema["items"], f"{path}.items", errors)
    properties = schema.get("properties") or {}
    for name, member in properties.items():
        _nested(member, f"{path}.properties[{name}]", errors)
    if schema.get("type"):
        errors.append(field.forbidden(f"{path}.type", "must be empty to be structural"))
    if schema.get("additionalProperties") is not None:
        errors.append(field.forbidden(f"{path}.additionalProperties", "must be undefined to be structural"))
    for name, detail in _FORBIDDEN_INSIDE:
        if schema.get(name) not in (None, "", False, []):
            errors.append(field.forbidden(f"{path}.{name}", detail))
    if "metadata" in properties:
        place = f"{path}.properties[metadata]"
        errors.append(field.forbidden(place, "must not be specified in a nested context"))


def _value_rules(rules: Schema, schema: Schema | None, place: str, path: str, errors: Errors) -> None:
    """Whatever is constrained below a junctor must be specified outside of them."""
    if isinstance(rules.get("not"), dict):
        _complete(rules["not"], schema, place, f"{path}.not", errors)
    for name in ("allOf", "anyOf", "oneOf"):
        for at, inner in enumerate(rules.get(name) or ()):
            _complete(inner, schema, place, f"{path}.{name}[{at}]", errors)


def _complete(rules: Schema, schema: Schema | None, place: str, path: str, errors: Errors) -> None:
    if schema is None:
        errors.append(field.required(place, f"because it is defined in {path}"))
        return
    _value_rules(rules, schema, place, path, errors)
    items = rules.get("items")
    if isinstance(items, dict):
        outside = schema.get("items")
        inner = outside if isinstance(outside, dict) else None
        _complete(items, inner, f"{place}.items", f"{path}.items", errors)
    properties = schema.get("properties") or {}
    for name, member in (rules.get("properties") or {}).items():
        inner_place, inner_path = f"{place}.properties[{name}]", f"{path}.properties[{name}]"
        if name not in properties:
            errors.append(field.required(inner_place, f"because it is defined in {inner_path}"))
        else:
            _complete(member, properties[name], inner_place, inner_path, errors)
