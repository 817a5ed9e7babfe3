"""The metadata of custom resources, of whole objects and of embedded ones (apiextensions ``schema/objectmeta``)."""

from functools import cache
from typing import Any

from wherry.api.meta import Object
from wherry.api.schema import Type, load
from wherry.api.schema.compile import Builder, builder
from wherry.api.schema.inspect import inspect
from wherry.api.schema.types import Anomaly

_JSON_TYPES = {bool: "bool", int: "number", float: "number", list: "array"}


def conform_metadata(metadata: Any) -> tuple[Object, list[str], str | None]:
    """Return metadata as upstream decodes it, the paths of unknown members, and what is wrong with it."""
    kind, build = _metadata()
    if metadata is None:
        return {}, [], None
    if not isinstance(metadata, dict):
        found_type = _JSON_TYPES.get(type(metadata), "string")
        return {}, [], f"json: cannot unmarshal {found_type} into Go value of type v1.ObjectMeta"
    try:
        return build(metadata), [], None
    except Anomaly:
        found = inspect(kind, metadata)
        unknown = [f"metadata.{path}" for path in found.unknown]
        if found.error is not None:
            return {}, unknown, found.error
        return build(found.pruned), unknown, None


@cache
def _metadata() -> tuple[Type, Builder]:
    kind = load().type_of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    return kind, builder(kind)
