"""From the bytes of a request to an object of the API: media types, parsing, fields nobody knows."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from wherry.api import meta, protobuf, schema
from wherry.api.errors import BadRequest, UnsupportedMediaType
from wherry.api.resources import TABLE, Resource, Subresource
from wherry.api.schema import DecodeError, TypeSchema
from wherry.api.schema.types import Conformed
from wherry.api.structural.schema import CustomSchema
from wherry.apiserver.extensions.decode import check_type, summary
from wherry.apiserver.query import write_options
from wherry.apiserver.request import Request
from wherry.apiserver.warnings import of_decoding

Object = dict[str, Any]

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_MANAGER_BYTES = 128
SCHEME = '"pkg/api/legacyscheme/scheme.go:30"'
"""How upstream names the registry of its built-in kinds in messages."""

MEDIA_TYPES = f"{JSON}, {YAML}, {PROTOBUF}"


class Schemas:
    """The type schemas of built-in and custom resources."""

    def __init__(self, definitions: schema.Schema | None = None) -> None:
        self.definitions = definitions or schema.load()
        self._known: dict[Resource, TypeSchema] = {}

    def add(self, resource: Resource, type_schema: TypeSchema) -> None:
        """Use `type_schema` for a resource that the definitions do not have."""
        self._known[resource] = type_schema

    def of(self, resource: Resource) -> TypeSchema:
        """Return the schema of a resource's objects."""
        if resource.custom is not None:
            return resource.custom.schema
        found = self._known.get(resource)
        if found is None:
            found = self._known[resource] = self.definitions.for_resource(resource)
        return found

    def of_subresource(self, subresource: Subresource) -> TypeSchema:
        """Return the schema of what a subresource takes."""
        version = f"{subresource.group}/{subresource.version}" if subresource.group else subresource.version
        return self.definitions.for_kind(version, subresource.kind)


@lru_cache(maxsize=256)
def media_type(content_type: str) -> str:
    """Return the media type of a body (JSON when none is named). Raises UnsupportedMediaType."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("", JSON):
        return JSON
    if kind in (YAML, PROTOBUF):
        return kind
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {MEDIA_TYPES}"
    )


def field_validation(params: Mapping[str, str]) -> str:
    """Return Ignore, Warn or Strict, which `query.write_options` has checked."""
    return params.get("fieldValidation") or "Warn"


def options_of(request: Request, kind: str) -> bool:
    """Check the media type and the options of a create or update; tell whether it is a dry run.

    `kind` is that of the options. Raises UnsupportedMediaType, Invalid.
    """
    if request.given is None:
        media_type(request.content_type)
    return write_options(request.params, kind)


def parse(request: Request, kind: str) -> tuple[Object, list[str]]:
    """Return the object of the body and its duplicate fields, before any schema. Raises BadRequest."""
    if request.given is not None:
        return request.given, []
    media = media_type(request.content_type)
    try:
        if media == PROTOBUF:
            return protobuf.decode(request.body, schema.load()), []
        return schema.decode_body(request.body, media)
    except (DecodeError, protobuf.ProtobufError) as error:
        prefix = f"the object provided is unrecognized (must be of type {kind}): "
        raise BadRequest(f"{prefix}{error} ({summary(request.body)})") from None


def decode(
    request: Request,
    type_schema: TypeSchema,
    *,
    api_version: str,
    kind: str,
    conform: Callable[[Object], Conformed] | None = None,
) -> Object:
    """Return a new object of the body in the form of its schema; `conform` does it in place of that.

    Fields that are unknown or double are refused or warned about as ``fieldValidation`` says. Raises BadRequest,
    UnsupportedMediaType.
    """
    mode = field_validation(request.params)
    obj, duplicates = parse(request, kind)
    if isinstance(type_schema, CustomSchema):
        check_type(request, obj, api_version, kind)
    given_version, given_kind = obj.get("apiVersion") or api_version, obj.get("kind") or kind
    version = api_version.rpartition("/")[2]
    if not isinstance(given_version, str) or not isinstance(given_kind, str):
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
            "json parse error: json: cannot unmarshal into Go struct field of type string"
        )
    if given_version != api_version or given_kind != kind:
        if given_kind == kind and protobuf.knows(given_version, kind):
            raise BadRequest(
                f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
            )
        _refuse_type(given_version, given_kind, version, kind)
    obj = {**obj, "apiVersion": api_version, "kind": kind}
    conformed, unknown, error = (conform or type_schema.conform)(obj)
    if error is not None:
        raise BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}')
    problems = duplicates + [f'unknown field "{path}"' for path in unknown]
    if duplicates and unknown and request.given is None and not isinstance(type_schema, CustomSchema):
        problems = _in_order(request, problems)
    if problems and mode == "Strict":
        raise BadRequest(
            f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {", ".join(problems)}'
        )
    if mode == "Warn":
        request.warnings.extend(of_decoding(problems))
    conformed.setdefault("metadata", {})
    return conformed if conformed is not obj else meta.copy(obj)


def _in_order(request: Request, problems: list[str]) -> list[str]:
    """Return the problems of a built-in kind's body as Go meets them; YAML is first read for double members alone."""
    return problems if "yaml" in media_type(request.content_type) else schema.in_order(request.body, problems)


def _refuse_type(given_version: str, given_kind: str, version: str, kind: str) -> None:
    prefix = f'{given_kind} in version "{given_version.rpartition("/")[2]}" cannot be handled as a {kind}: '
    if TABLE.for_object(given_version, given_kind) is None:
        prefix = f'{given_kind} in version "{version}" cannot be handled as a {kind}: '
        raise BadRequest(
            f'{prefix}no kind "{given_kind}" is registered for version "{given_version}" in scheme {SCHEME}'
        )
    raise BadRequest(f"{prefix}converting (v1.{given_kind}) to (core.{kind}): unknown conversion")
