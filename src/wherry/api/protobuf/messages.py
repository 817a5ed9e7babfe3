"""Message descriptors: the field numbers of ``data/protobuf.tsv`` joined with the shapes of the API definitions."""

from dataclasses import dataclass, field
from functools import cache
from importlib import resources as package_data
from typing import Any, Literal

from wherry.api.resources import TABLE
from wherry.api.schema import Schema

Shape = Literal[
    "message", "inline", "string", "bytes", "boolean", "integer", "number", "quantity", "int-or-string", "time",
    "micro-time", "raw", "schema-or-bool", "schema-or-array", "schema-or-strings", "strings",
]  # fmt: skip

_PREFIXES = (
    "io.k8s.api.",
    "io.k8s.apimachinery.pkg.apis.",
    "io.k8s.apiextensions-apiserver.pkg.apis.",
    "io.k8s.kube-aggregator.pkg.apis.",
)
_SPECIAL: dict[str, Shape] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "micro-time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "raw",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "raw",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "schema-or-bool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "schema-or-array",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "schema-or-strings",
}
_GROUPS = frozenset(resource.group for resource in TABLE) | {"extensions"}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_METADATA_ONLY = ("PartialObjectMetadata", "PartialObjectMetadataList")
_SCHEMA_PROPS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


@dataclass(slots=True)
class Member:
    """One field: `name` as in JSON; `label` says whether it is repeated or a map from strings."""

    name: str
    number: int
    shape: Shape
    label: Literal["one", "list", "map"] = "one"
    message: "Message | None" = None


@dataclass(slots=True)
class Message:
    """The fields of one message by number."""

    name: str
    members: dict[int, Member] = field(default_factory=dict)


class Messages:
    """The descriptors of one schema, made when they are first asked for."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._numbers = _numbers()
        self._made: dict[str, Message] = {}

    def for_kind(self, api_version: str, kind: str) -> Message | None:
        """Return the message of a built-in kind or list kind, None when it has no protobuf form."""
        if api_version == "meta.k8s.io/v1" and kind in _METADATA_ONLY:
            return self._metadata_only(kind)
        group, _, version = api_version.rpartition("/")
        name = self._schema.definition_name(group, version, kind)
        return self.of(name) if name is not None and _short(name) in self._numbers else None

    def _metadata_only(self, kind: str) -> Message:
        """PartialObjectMetadata and its list, which the API definitions do not have."""
        found = self._made.get(kind)
        if found is None:
            is_list = kind.endswith("List")
            inner = self.of(_META + ("ListMeta" if is_list else "ObjectMeta"))
            found = self._made[kind] = Message(kind, {1: Member("metadata", 1, "message", message=inner)})
            if is_list:
                found.members[2] = Member("items", 2, "message", "list", self._metadata_only("PartialObjectMetadata"))
        return found

    def of(self, name: str) -> Message:
        """Return the message of a definition by its full name."""
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = Message(name)
            properties = self._schema.definitions.get(name, {}).get("properties", {})
            for item in self._numbers.get(_short(name), "").split():
                self._add(found, item, properties)
        return found

    def _add(self, message: Message, item: str, properties: dict[str, Any]) -> None:
        member, _, digits = item.rpartition("=")
        number = int(digits)
        if member.startswith("+"):
            inline = Message(member[1:])
            for inner in self._numbers.get(member[1:], "").split():
                self._add(inline, inner, properties)
            message.members[number] = Member(member, number, "inline", message=inline)
        elif member in properties:
            message.members[number] = self._member(member, number, properties[member])

    def _member(self, name: str, number: int, schema: dict[str, Any]) -> Member:
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "array":
            return self._labelled(name, number, schema["items"], "list")
        if kind == "object" and "additionalProperties" in schema:
            return self._labelled(name, number, schema["additionalProperties"], "map")
        return self._labelled(name, number, schema, "one")

    def _labelled(self, name: str, number: int, schema: dict[str, Any], label: Literal["one", "list", "map"]) -> Member:
        reference = schema.get("$ref", "").removeprefix("#/$defs/")
        if reference:
            shape = _SPECIAL.get(reference, "message")
            needs = _SCHEMA_PROPS if shape.startswith("schema-or") else reference
            message = self.of(needs) if shape == "message" or shape.startswith("schema-or") else None
            return Member(name, number, shape, label, message)
        return Member(name, number, _scalar(schema), label)


def _scalar(schema: dict[str, Any]) -> Shape:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "array":
            return "strings"  # a named list of strings as a map's value (UserInfo's extra)
        case "string":
            return "bytes" if schema.get("format") == "byte" else "string"
        case "boolean":
            return "boolean"
        case "integer":
            return "integer"
        case "number":
            return "number"
    return "raw"


@cache
def messages_of(schema: Schema) -> Messages:
    """Return the descriptors of a schema, the same at each call."""
    return Messages(schema)


@cache
def knows(api_version: str, kind: str) -> bool:
    """Tell whether Kubernetes has a Go type for a kind, also in a version that it no longer serves."""
    group, _, version = api_version.rpartition("/")
    if group not in _GROUPS:
        return False
    return f"{group.partition('.')[0] or 'core'}.{version}.{kind}" in _numbers()


@cache
def _numbers() -> dict[str, str]:
    text = (package_data.files("wherry.api") / "data" / "protobuf.tsv").read_text()
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith(("#", "definition\t")))
    return {row[0]: row[1] for row in rows}


def _short(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name
