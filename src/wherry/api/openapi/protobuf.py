"""OpenAPI v2 in protobuf, as kubectl asks for it: gnostic's messages (``openapiv2/OpenAPIv2.proto``)."""

from typing import Any

from wherry.api.openapi.gnostic import Format, Json, flag, scopes
from wherry.api.protobuf.wire import delimited

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED_AS = frozenset({MEDIA_TYPE, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"})
"""``Accept`` names it with an ``@``, which is no legal media type, so that the answer names it otherwise."""

_SIMPLE_PARAMETER = (
    "required:1:flag in:2:text description:3:text name:4:text type:{0}:text format:{1}:text items:{2}:PrimitivesItems "
    "default:{3}:any maximum:{4}:float minimum:{5}:float maxLength:{6}:int minLength:{7}:int pattern:{8}:text "
    "uniqueItems:{9}:flag enum:{10}:any* x-:{11}"
)
_FORMAT = Format(
    {
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
            "$ref:1:text format:2:text title:3:text description:4:text default:5:any multipleOf:6:float "
            "maximum:7:float exclusiveMaximum:8:flag minimum:9:float exclusiveMinimum:10:flag maxLength:11:int "
            "minLength:12:int pattern:13:text maxItems:14:int minItems:15:int uniqueItems:16:flag "
            "maxProperties:17:int minProperties:18:int required:19:text* enum:20:any* "
            "additionalProperties:21:Additional type:22:Types items:23:Items allOf:24:Schema* "
            "properties:25:Schemas discriminator:26:text readOnly:27:flag example:30:any x-:31"
        ),
        "ApiKeySecurity": "type:1:text name:2:text in:3:text description:4:text x-:5",
    }
)


def encode(document: Json) -> bytes:
    """Return an OpenAPI v2 document in protobuf; members that the format does not know are left out."""
    return _FORMAT.message("Document")(document) or b""


def _parameter(value: Json) -> bytes:
    """Of the alternatives of a parameter only these occur: a body, a query parameter, a part of the path."""
    if value["in"] == "body":
        return delimited(1, _FORMAT.inside("BodyParameter")(value) or b"")
    field, kind = (3, "QueryParameter") if value["in"] == "query" else (4, "PathParameter")
    return delimited(1, delimited(2, _FORMAT.inside(kind, field)(value) or b""))


def _additional(value: Any) -> bytes | None:
    return flag(2, value) if isinstance(value, bool) else _FORMAT.inside("Schema")(value)


def _texts(value: str | list[str]) -> bytes:
    return b"".join([delimited(1, text.encode()) for text in ([value] if isinstance(value, str) else value)])


_FORMAT.shapes |= {
    "Paths": _FORMAT.by_name(2, "PathItem"),
    "Schemas": _FORMAT.by_name(1, "Schema"),
    "Responses": _FORMAT.by_name(1, "ResponseValue"),
    "SecurityDefinitions": _FORMAT.by_name(1, "SecurityDefinition"),
    "SecurityRequirement": scopes,
    "SecurityDefinition": _FORMAT.inside("ApiKeySecurity", 2),
    "ResponseValue": _FORMAT.inside("Response"),
    "SchemaItem": _FORMAT.inside("Schema"),
    "Parameter": _parameter,
    "Additional": _additional,
    "Types": _texts,
    "Items": _FORMAT.inside("Schema"),
}
