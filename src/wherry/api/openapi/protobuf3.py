"""OpenAPI v3 in protobuf: gnostic's messages (``openapiv3/OpenAPIv3.proto``)."""

from typing import Any

from wherry.api.openapi.gnostic import Format, Json, Write, double, flag, named, scopes
from wherry.api.protobuf.wire import delimited

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
ASKED_AS = frozenset({MEDIA_TYPE, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"})
"""As of version 2: asked for with an ``@``, answered without."""

_FORMAT = Format(
    {
        "Document": "openapi:1:text info:2:Info paths:4:Paths components:5:Components security:6:Security* x-:9",
        "Info": "title:1:text description:2:text version:6:text x-:7",
        "PathItem": (
            "$ref:1:text summary:2:text description:3:text get:4:Operation put:5:Operation post:6:Operation "
            "delete:7:Operation options:8:Operation head:9:Operation patch:10:Operation trace:11:Operation "
            "parameters:13:ParameterOr* x-:14"
        ),
        "Operation": (
            "tags:1:text* summary:2:text description:3:text operationId:5:text parameters:6:ParameterOr* "
            "requestBody:7:RequestBodyOr responses:8:Responses deprecated:10:flag security:11:Security* x-:13"
        ),
        "Parameter": (
            "name:1:text in:2:text description:3:text required:4:flag deprecated:5:flag allowEmptyValue:6:flag "
            "style:7:text explode:8:flag allowReserved:9:flag schema:10:SchemaOr example:11:any content:13:MediaTypes "
            "x-:14"
        ),
        "RequestBody": "description:1:text content:2:MediaTypes required:3:flag x-:4",
        "MediaType": "schema:1:SchemaOr example:2:any x-:5",
        "Response": "description:1:text content:3:MediaTypes x-:5",
        "Components": "schemas:1:Schemas securitySchemes:7:SecuritySchemes x-:10",
        "SecurityScheme": (
            "type:1:text description:2:text name:3:text in:4:text scheme:5:text bearerFormat:6:text x-:9"
        ),
        "Reference": "$ref:1:text summary:2:text description:3:text",
        "Schema": (
            "nullable:1:flag readOnly:3:flag writeOnly:4:flag example:7:any deprecated:8:flag title:9:text "
            "multipleOf:10:float maximum:11:float exclusiveMaximum:12:flag minimum:13:float exclusiveMinimum:14:flag "
            "maxLength:15:int minLength:16:int pattern:17:text maxItems:18:int minItems:19:int uniqueItems:20:flag "
            "maxProperties:21:int minProperties:22:int required:23:text* enum:24:any* type:25:text allOf:26:SchemaOr* "
            "oneOf:27:SchemaOr* anyOf:28:SchemaOr* not:29:Schema items:30:Items properties:31:Schemas "
            "additionalProperties:32:Additional default:33:Default description:34:text format:35:text x-:36"
        ),
    }
)


def encode(document: Json) -> bytes:
    """Return an OpenAPI v3 document in protobuf; members that the format does not know are left out."""
    return _FORMAT.message("Document")(document) or b""


def _or_reference(kind: str) -> Write:
    """Return the encoder of what may stand elsewhere."""
    itself, reference = _FORMAT.inside(kind), _FORMAT.inside("Reference", 2)
    return lambda value: reference(value) if "$ref" in value else itself(value)


def _additional(value: Any) -> bytes | None:
    return flag(2, value) if isinstance(value, bool) else _FORMAT.inside("SchemaOr")(value)


def _default(value: Any) -> bytes | None:
    """The format has scalars alone: the defaults of objects and lists are left out."""
    if isinstance(value, bool):
        return flag(2, value)
    if isinstance(value, int | float):
        return double(1, value)
    return delimited(3, value.encode()) if isinstance(value, str) else None


def _responses(value: Json) -> bytes:
    write = _FORMAT.message("ResponseOr")
    parts = [
        delimited(1, write(item) or b"") if code == "default" else delimited(2, named(code, write(item) or b""))
        for code, item in value.items()
    ]
    return b"".join(parts)


_FORMAT.shapes |= {
    **{f"{kind}Or": _or_reference(kind) for kind in ("Parameter", "RequestBody", "Response", "Schema")},
    "SecuritySchemeOr": _or_reference("SecurityScheme"),
    "Paths": _FORMAT.by_name(1, "PathItem"),
    "Schemas": _FORMAT.by_name(1, "SchemaOr"),
    "MediaTypes": _FORMAT.by_name(1, "MediaType"),
    "SecuritySchemes": _FORMAT.by_name(1, "SecuritySchemeOr"),
    "Security": scopes,
    "Responses": _responses,
    "Items": _FORMAT.inside("SchemaOr"),
    "Additional": _additional,
    "Default": _default,
}
