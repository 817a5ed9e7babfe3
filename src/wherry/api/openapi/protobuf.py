"""OpenAPI v2 in protobuf, as kubectl asks for it: gnostic's messages (``openapiv2/OpenAPIv2.proto``).

A row of `_MESSAGES` says for each member of a JSON object its field number and how its value is written: as text,
whole number, floating number or flag, as ``any`` (a value of any form, written as text), or as another message.
``*`` marks repeated fields. Members that begin with ``x-`` go to the field named ``x-``.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from struct import pack
from typing import Any

import orjson

from wherry.api.protobuf.wire import FIXED64, VARINT, delimited, tagged, varint

Json = dict[str, Any]
_Writer = Callable[[int, Any], bytes]

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED_AS = frozenset({MEDIA_TYPE, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"})
"""``Accept`` names it with an ``@``, which is no legal media type, so that the answer names it otherwise."""

_SIMPLE_PARAMETER = (
    "required:1:flag in:2:text description:3:text name:4:text type:{0}:text format:{1}:text items:{2}:PrimitivesItems "
    "default:{3}:any maximum:{4}:float minimum:{5}:float maxLength:{6}:int minLength:{7}:int pattern:{8}:text "
    "uniqueItems:{9}:flag enum:{10}:any* x-:{11}"
)
_MESSAGES = {
    "Document": (
        "swagger:1:text info:2:Info host:3:text basePath:4:text schemes:5:text* consumes:6:text* produces:7:text* "
        "paths:8:Paths definitions:9:Schemas security:12:SecurityRequirement* "
        "securityDefinitions:13:SecurityDefinitions x-:16"
    ),
    "Info": "title:1:text version:2:text description:3:text x-:7",
    "PathItem": (
        "$ref:1:text get:2:Operation put:3:Operation post:4:Operation delete:5:Operation options:6:Operation "
        "head:7:Operation patch:8:Operation parameters:9:Parameter* x-:10"
    ),
    "Operation": (
        "tags:1:text* summary:2:text description:3:text operationId:5:text produces:6:text* consumes:7:text* "
        "parameters:8:Parameter* responses:9:Responses schemes:10:text* deprecated:11:flag "
        "security:12:SecurityRequirement* x-:13"
    ),
    "BodyParameter": "description:1:text name:2:text in:3:text required:4:flag schema:5:Schema x-:6",
    "QueryParameter": _SIMPLE_PARAMETER.format(6, 7, 8, 10, 11, 13, 15, 16, 17, 20, 21, 23),
    "PathParameter": _SIMPLE_PARAMETER.format(5, 6, 7, 9, 10, 12, 14, 15, 16, 19, 20, 22),
    "PrimitivesItems": "type:1:text format:2:text items:3:PrimitivesItems default:5:any enum:16:any* x-:18",
    "Response": "description:1:text schema:2:SchemaItem x-:5",
    "Schema": (
        "$ref:1:text format:2:text title:3:text description:4:text default:5:any multipleOf:6:float maximum:7:float "
        "exclusiveMaximum:8:flag minimum:9:float exclusiveMinimum:10:flag maxLength:11:int minLength:12:int "
        "pattern:13:text maxItems:14:int minItems:15:int uniqueItems:16:flag maxProperties:17:int minProperties:18:int "
        "required:19:text* enum:20:any* additionalProperties:21:Additional type:22:Types items:23:Items "
        "allOf:24:Schema* properties:25:Schemas discriminator:26:text readOnly:27:flag example:30:any x-:31"
    ),
    "ApiKeySecurity": "type:1:text name:2:text in:3:text description:4:text x-:5",
}


def encode(document: Json) -> bytes:
    """Return an OpenAPI v2 document in protobuf; members that the format does not know are left out."""
    return _message("Document")(document)


@cache
def _message(name: str) -> Callable[[Json], bytes]:
    """Return the encoder of one message."""
    if name in _SHAPES:
        return _SHAPES[name]
    rows = [row.rsplit(":", 2) if not row.startswith("x-:") else ["x-", row[3:], ""] for row in _MESSAGES[name].split()]
    extension = next((int(number) for member, number, _ in rows if member == "x-"), 0)
    writers = {member: (int(number), kind) for member, number, kind in rows if member != "x-"}

    def encode_message(value: Json) -> bytes:
        parts = []
        for member, item in value.items():
            known = writers.get(member)
            if known is not None:
                parts.append(_field(known[0], known[1], item))
            elif member.startswith("x-") and extension:
                parts.append(delimited(extension, _named(member, _any(item))))
        return b"".join(parts)

    return encode_message


def _field(number: int, kind: str, value: Any) -> bytes:
    if kind.endswith("*"):
        return b"".join([_field(number, kind[:-1], item) for item in value])
    write = _SCALARS.get(kind)
    return write(number, value) if write is not None else delimited(number, _message(kind)(value))


@lru_cache(maxsize=4096)
def _text(number: int, value: str) -> bytes:
    """Most texts of a document occur again and again: names of parameters, media types, tags."""
    return delimited(number, value.encode())


_SCALARS: dict[str, _Writer] = {
    "text": lambda number, value: _text(number, value),
    "flag": lambda number, value: tagged(number, VARINT) + (b"\x01" if value else b"\x00"),
    "int": lambda number, value: tagged(number, VARINT) + varint(value),
    "float": lambda number, value: tagged(number, FIXED64) + pack("<d", value),
    "any": lambda number, value: delimited(number, _any(value)),
}


def _any(value: Any) -> bytes:
    """A value of any form is YAML text; JSON is YAML."""
    return delimited(2, orjson.dumps(value))


def _named(name: str, value: bytes) -> bytes:
    return delimited(1, name.encode()) + delimited(2, value)


def _by_name(number: int, kind: str) -> Callable[[Json], bytes]:
    def encode_members(members: Json) -> bytes:
        encode_member = _message(kind)
        return b"".join([delimited(number, _named(name, encode_member(item))) for name, item in members.items()])

    return encode_members


def _parameter(value: Json) -> bytes:
    """Of the alternatives of a parameter only these occur: a body, a query parameter, a part of the path."""
    if value["in"] == "body":
        return delimited(1, delimited(1, _message("BodyParameter")(value)))
    field, kind = (3, "QueryParameter") if value["in"] == "query" else (4, "PathParameter")
    return delimited(1, delimited(2, delimited(field, _message(kind)(value))))


def _scopes(value: Json) -> bytes:
    """A requirement of security: names with the scopes that each needs."""
    texts = {name: b"".join([delimited(1, scope.encode()) for scope in scopes]) for name, scopes in value.items()}
    return b"".join([delimited(1, _named(name, encoded)) for name, encoded in texts.items()])


def _additional(value: Any) -> bytes:
    if isinstance(value, bool):
        return tagged(2, VARINT) + (b"\x01" if value else b"\x00")
    return delimited(1, _message("Schema")(value))


def _texts(value: str | list[str]) -> bytes:
    return b"".join([delimited(1, text.encode()) for text in ([value] if isinstance(value, str) else value)])


def _inside(kind: str) -> Callable[[Any], bytes]:
    """A message that only holds another one, as its first field."""
    return lambda value: delimited(1, _message(kind)(value))


_SHAPES: dict[str, Callable[[Any], bytes]] = {
    "Paths": _by_name(2, "PathItem"),
    "Schemas": _by_name(1, "Schema"),
    "Responses": _by_name(1, "ResponseValue"),
    "SecurityDefinitions": _by_name(1, "SecurityDefinition"),
    "SecurityRequirement": _scopes,
    "SecurityDefinition": lambda value: delimited(2, _message("ApiKeySecurity")(value)),
    "ResponseValue": _inside("Response"),
    "SchemaItem": _inside("Schema"),
    "Parameter": _parameter,
    "Additional": _additional,
    "Types": _texts,
    "Items": _inside("Schema"),
}
