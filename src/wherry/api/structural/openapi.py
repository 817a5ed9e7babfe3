"""What an ``openAPIV3Schema`` may say beside being structural (apiextensions ``validation.go``)."""

from dataclasses import dataclass, replace
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.structural.expressions import Place, rule_errors
from wherry.api.structural.fieldpath import field_at

Schema = dict[str, Any]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_EVEN_EMPTY = ("additionalItems", "dependencies", "$ref")
_META = frozenset({"metadata", "kind", "apiVersion"})
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_ATOMIC_MEMBER = "must be atomic as item of a list with x-kubernetes-list-type=set"
_LIST_TYPE, _LIST_KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"


@dataclass(frozen=True, slots=True)
class _Context:
    """`no_defaults` is why defaults are forbidden; `place` is None where rules are not looked at."""

    place: Place | None
    no_defaults: str = ""
    in_metadata: bool = False


class OpenApiErrors:
    """What is wrong with a schema: in its fields, and in its rules, which come last."""

    def __init__(self, place: Place | None) -> None:
        self.fields: list[FieldError] = []
        self.rules: list[FieldError] = []
        self._place = place

    def check(self, schema: Schema, path: str) -> list[FieldError]:
        """Return all errors of a whole schema."""
        self._visit(schema, path, _Context(self._place), root=True)
        return self.fields + self.rules

    def _visit(self, schema: Schema, path: str, context: _Context, *, root: bool = False) -> None:
        before = len(self.fields)
        self._standard(schema, path, context)
        if schema.get("uniqueItems"):
            detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
            self.fields.append(field.forbidden(f"{path}.uniqueItems", detail))
        self._additional(schema, path, context)
        self._properties(schema, path, context, root)
        self._junctors(schema, path, context)
        self._items(schema, path, context)
        self.fields += _extension_errors(schema, path)
        self.fields += _list_errors(schema, path)
        self.fields += _key_errors(schema, path)
        if schema.get("x-kubernetes-validations"):
            for at, rule in enumerate(schema["x-kubernetes-validations"]):
                self.fields += _form_errors(schema, rule, f"{path}.x-kubernetes-validations[{at}]")
            if len(self.fields) == before and context.place is not None:
                whole = root or bool(schema.get("x-kubernetes-embedded-resource"))
                self.rules += rule_errors(schema, path, context.place, root=whole)

    def _standard(self, schema: Schema, path: str, context: _Context) -> None:
        kind = schema.get("type") or ""
        if kind and kind not in _TYPES:
            self.fields.append(field.not_supported(f"{path}.type", kind, _TYPES, ordered=True))
        if "default" in schema and context.no_defaults:
            self.fields.append(field.forbidden(f"{path}.default", f"must not be set {context.no_defaults}"))
        for name in _UNSUPPORTED:
            if schema.get(name) or (name in _EVEN_EMPTY and schema.get(name) is not None):
                self.fields.append(field.forbidden(f"{path}.{name}", f"{name} is not supported"))
        if kind == "null":
            detail = "type cannot be set to null, use nullable as an alternative"
            self.fields.append(field.forbidden(f"{path}.type", detail))
        if isinstance(schema.get("items"), list) and schema["items"]:
            detail = "items must be a schema object and not an array"
            self.fields.append(field.forbidden(f"{path}.items", detail))
        if context.in_metadata and schema.get("x-kubernetes-embedded-resource"):
            detail = "must not be used inside of resource meta"
            self.fields.append(field.forbidden(f"{path}.x-kubernetes-embedded-resource", detail))

    def _additional(self, schema: Schema, path: str, context: _Context) -> None:
        additional = schema.get("additionalProperties")
        if additional is None:
            return
        if schema.get("properties") and additional is not True:
            detail = "additionalProperties and properties are mutual exclusive"
            self.fields.append(field.forbidden(f"{path}.additionalProperties", detail))
        if not isinstance(additional, dict):
            return
        if context.in_metadata:
            context = replace(context, no_defaults="inside additionalProperties applying to object metadata")
        place = context.place
        if place is not None:
            context = replace(context, place=replace(place, cardinality=place.times(schema.get("maxProperties"))))
        self._visit(additional, f"{path}.additionalProperties", context)

    def _properties(self, schema: Schema, path: str, context: _Context, root: bool) -> None:
        for name, member in (schema.get("properties") or {}).items():
            inner = context
            if (root or schema.get("x-kubernetes-embedded-resource")) and name in _META:
                inner = replace(inner, in_metadata=True)
                if root:
                    inner = replace(inner, no_defaults=f"in top-level {name}")
            self._visit(member, f"{path}.properties[{name}]", inner)

    def _junctors(self, schema: Schema, path: str, context: _Context) -> None:
        context = replace(context, place=None)
        if isinstance(schema.get("not"), dict):
            self._visit(schema["not"], f"{path}.not", context)
        for name in ("allOf", "oneOf", "anyOf"):
            for at, inner in enumerate(schema.get(name) or ()):
                self._visit(inner, f"{path}.{name}[{at}]", context)

    def _items(self, schema: Schema, path: str, context: _Context) -> None:
        items = schema.get("items")
        if schema.get(_LIST_TYPE) != "map":
            context = _uncorrelated(context, path)
        place = context.place
        if place is not None:
            context = replace(context, place=replace(place, cardinality=place.times(schema.get("maxItems"))))
        if isinstance(items, dict):
            self._visit(items, f"{path}.items", context)
        elif isinstance(items, list):
            for at, inner in enumerate(items):
                self._visit(inner, f"{path}.items[{at}]", context)


def _uncorrelated(context: _Context, path: str) -> _Context:
    place = context.place
    if place is None or place.uncorrelated:
        return context
    return replace(context, place=replace(place, uncorrelated=path))


def _extension_errors(schema: Schema, path: str) -> list[FieldError]:
    errors = []
    kind = schema.get("type") or ""
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        place = f"{path}.x-kubernetes-preserve-unknown-fields"
        errors.append(field.invalid(place, False, "must be true or undefined"))
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is not None and kind != "object":
        errors.append(_wrong_type(path, kind, "must be object if x-kubernetes-map-type is specified"))
    if map_type is not None and map_type not in ("atomic", "granular"):
        allowed = ("atomic", "granular")
        errors.append(field.not_supported(f"{path}.x-kubernetes-map-type", map_type, allowed, ordered=True))
    return errors


def _wrong_type(path: str, kind: str, detail: str) -> FieldError:
    place = f"{path}.type"
    return field.invalid(place, kind, detail) if kind else field.required(place, detail)


def _list_errors(schema: Schema, path: str) -> list[FieldError]:
    list_type, kind, items = schema.get(_LIST_TYPE), schema.get("type") or "", schema.get("items")
    errors = []
    if list_type is not None and kind != "array":
        errors.append(_wrong_type(path, kind, f"must be array if {_LIST_TYPE} is specified"))
    elif list_type == "set" and isinstance(items, dict):
        inner_list, inner_map = items.get(_LIST_TYPE), items.get("x-kubernetes-map-type")
        if items.get("type") == "array" and inner_list not in (None, "atomic"):
            errors.append(field.invalid(f"{path}.items.{_LIST_TYPE}", inner_list, _ATOMIC_MEMBER))
        elif items.get("type") == "object" and inner_map != "atomic":
            errors.append(field.invalid(f"{path}.items.x-kubernetes-map-type", inner_list, _ATOMIC_MEMBER))
    if list_type is not None and list_type not in ("atomic", "set", "map"):
        allowed = ("atomic", "set", "map")
        errors.append(field.not_supported(f"{path}.{_LIST_TYPE}", list_type, allowed, ordered=True))
    if schema.get(_LIST_KEYS) and list_type != "map":
        detail = f"must be map if {_LIST_KEYS} is non-empty"
        place = f"{path}.{_LIST_TYPE}"
        errors.append(field.required(place, detail) if list_type is None else field.invalid(place, list_type, detail))
    if list_type == "map":
        errors += _map_list_errors(schema, path)
    return errors


def _map_list_errors(schema: Schema, path: str) -> list[FieldError]:
    keys, items = schema.get(_LIST_KEYS) or [], schema.get("items")
    errors = []
    if not keys:
        errors.append(field.required(f"{path}.{_LIST_KEYS}", f"must not be empty if {_LIST_TYPE} is map"))
    if items is None:
        errors.append(field.required(f"{path}.items", f"must have a schema if {_LIST_TYPE} is map"))
    elif not isinstance(items, dict):
        errors.append(field.invalid(f"{path}.items", items, f"must only have a single schema if {_LIST_TYPE} is map"))
    elif items.get("type") != "object":
        detail = f"must be object if parent array's {_LIST_TYPE} is map"
        errors.append(field.invalid(f"{path}.items.type", items.get("type") or "", detail))
    else:
        properties = items.get("properties") or {}
        for at, key in enumerate(keys):
            if key not in properties:
                detail = "entries must all be names of item properties"
                errors.append(field.invalid(f"{path}.{_LIST_KEYS}", keys, detail))
            elif properties[key].get("type") in ("array", "object"):
                detail = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
                errors.append(field.invalid(f"{path}.items.properties[{key}].type", "object", detail))
            if key in keys[:at]:
                errors.append(field.invalid(f"{path}.{_LIST_KEYS}", keys, "must not contain duplicate entries"))
    return errors


def _key_errors(schema: Schema, path: str) -> list[FieldError]:
    """What identifies the items of a set or list-map must always be there."""
    items, list_type = schema.get("items"), schema.get(_LIST_TYPE)
    if not isinstance(items, dict) or list_type not in ("set", "map"):
        return []
    errors = []
    if items.get("nullable"):
        detail = f"cannot be nullable when {_LIST_TYPE} is {list_type}"
        errors.append(field.forbidden(f"{path}.items.nullable", detail))
    properties, required = items.get("properties") or {}, items.get("required") or ()
    for key in (schema.get(_LIST_KEYS) or ()) if list_type == "map" else ():
        member = properties.get(key)
        place = f"{path}.items.properties[{key}]"
        if member is None:
            continue
        if key not in required and "default" not in member:
            detail = f"this property is in {_LIST_KEYS}, so it must have a default or be a required property"
            errors.append(field.required(f"{place}.default", detail))
        if member.get("nullable"):
            detail = f"this property is in {_LIST_KEYS}, so it cannot be nullable"
            errors.append(field.forbidden(f"{place}.nullable", detail))
    return errors


def _form_errors(schema: Schema, rule: Schema, path: str) -> list[FieldError]:
    """What is wrong with a rule before its expressions are looked at."""
    errors = []
    text, given = (rule.get("rule") or "").strip(), rule.get("message") or ""
    message, place = given.strip(), rule.get("fieldPath") or ""
    if not text:
        errors.append(field.required(f"{path}.rule", "rule is not specified"))
    elif given and not message:
        errors.append(field.invalid(f"{path}.message", given, "must be non-empty if specified"))
    elif _broken(message):
        errors.append(field.invalid(f"{path}.message", given, "must not contain line breaks"))
    elif _broken(text) and not message:
        detail = "message must be specified if rule contains line breaks"
        errors.append(field.required(f"{path}.message", detail))
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        detail = "messageExpression must be non-empty if specified"
        errors.append(field.required(f"{path}.messageExpression", detail))
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(field.not_supported(f"{path}.reason", reason, _REASONS, ordered=True))
    if place and not place.strip():
        errors.append(field.invalid(f"{path}.fieldPath", place, "must be non-empty if specified"))
    if _broken(place):
        errors.append(field.invalid(f"{path}.fieldPath", place, "must not contain line breaks"))
    if place and isinstance(field_at(schema, place), str):
        errors.append(field.invalid(f"{path}.fieldPath", place, "must be a valid path"))
    return errors


def _broken(text: str) -> bool:
    return "\n" in text or "\r" in text
