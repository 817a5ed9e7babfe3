"""The Table and PartialObjectMetadata forms of objects."""

from collections.abc import Sequence
from typing import Any

from wherry.api.errors import BadRequest, NotAcceptable
from wherry.api.resources import Resource
from wherry.apiserver import negotiate
from wherry.apiserver.negotiate import Form
from wherry.util import clock

Object = dict[str, Any]


def partial(obj: Object, version: str = "v1") -> Object:
    """Return the metadata of an object as PartialObjectMetadata."""
    return {"kind": negotiate.PARTIAL, "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def transform(form: Form, resource: Resource | None, obj: Object, include: str) -> Object:
    """Return one object as `form` asks. A Status stays what it is."""
    if resource is None or obj.get("kind") == "Status":
        return obj
    if form.kind == negotiate.PARTIAL_LIST:
        raise NotAcceptable(
            f"you requested PartialObjectMetadataList, but the requested object is not a list (*core.{resource.kind})"
        )
    if form.kind == negotiate.PARTIAL:
        return partial(obj, form.version)
    metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    return table(resource, [obj], metadata, include=include, version=form.version)


def transform_list(form: Form, resource: Resource, objects: Sequence[Object], metadata: Object, include: str) -> Object:
    """Return a list as `form` asks."""
    if form.kind == negotiate.PARTIAL:
        raise NotAcceptable(
            f"you requested PartialObjectMetadata, but the requested object is a list (*core.{resource.kind}List)"
        )
    if form.kind == negotiate.PARTIAL_LIST:
        return {
            "kind": negotiate.PARTIAL_LIST,
            "apiVersion": f"meta.k8s.io/{form.version}",
            "metadata": metadata,
            "items": [partial(obj, form.version) for obj in objects],
        }
    return table(resource, objects, metadata, include=include, version=form.version)


def table(
    resource: Resource,
    objects: Sequence[Object],
    metadata: Object,
    *,
    include: str,
    version: str = "v1",
    with_columns: bool = True,
) -> Object:
    """Return a Table of `objects`. `include` is ``includeObject``. Raises BadRequest."""
    if include not in ("", "Metadata", "Object", "None"):
        raise BadRequest(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{include}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    columns, cells = printer(resource)
    rows = []
    for obj in objects:
        row: Object = {"cells": cells(obj), "object": None}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = partial(obj, version)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": columns if with_columns else None,
        "rows": rows,
    }


def printer(resource: Resource) -> tuple[list[Object], Any]:
    """Return the column definitions of a resource and a function from an object to its cells."""
    try:
        from wherry.api import printers
    except ImportError:
        return _FALLBACK, _fallback_cells
    return printers.columns(resource), lambda obj: printers.cells(resource, obj)


_FALLBACK: list[Object] = [
    {"name": "Name", "type": "string", "format": "name", "description": "Name of the object", "priority": 0},
    {
        "name": "Age",
        "type": "string",
        "format": "",
        "description": "Time since the creation of the object",
        "priority": 0,
    },
]


def _fallback_cells(obj: Object) -> list[Any]:
    created = obj["metadata"].get("creationTimestamp")
    return [obj["metadata"]["name"], age(created)]


def age(created: str | None) -> str:
    """Return how long ago a time was, as ``kubectl get`` shows it."""
    if not created:
        return "<unknown>"
    return duration(int(clock.since(created).total_seconds()))


def duration(seconds: int) -> str:
    """Format seconds as apimachinery ``duration.HumanDuration`` does."""
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = seconds // 3600
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        rest = days % 365
        return f"{days // 365}y{rest}d" if rest else f"{days // 365}y"
    return f"{days // 365}y"
