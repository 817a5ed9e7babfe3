"""The Table and PartialObjectMetadata forms of objects."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wherry.api import printers
from wherry.api.errors import BadRequest, InternalError, NotAcceptable
from wherry.api.printers.text import age
from wherry.api.resources import Resource
from wherry.apiserver import negotiate
from wherry.apiserver.conversion import STORED_AS
from wherry.apiserver.decode import MEDIA_TYPES
from wherry.apiserver.negotiate import Form

Object = dict[str, Any]


_CREATED_ONLY = frozenset({"create"})
"""Reviews and the like: answered, not kept."""

SCALES = Resource("autoscaling", "v1", "scales", "scale", "Scale", True, frozenset())
CUSTOM_SCALES = replace(SCALES)
"""Stand for the objects of ``scale`` subresources, of built-in and of custom resources."""


def _columns(*rows: tuple[str, str, str, str]) -> list[Object]:
    return [
        {"name": name, "type": kind, "format": form, "description": text, "priority": 0}
        for name, kind, form, text in rows
    ]


_SCALE_COLUMNS = {
    SCALES: _columns(
        ("Name", "string", "", "Name must be unique within a namespace."),
        ("Desired", "integer", "", "Number of desired pods."),
        ("Available", "integer", "", "Number of observed pods."),
        ("Age", "string", "", "Time since the object was created."),
    ),
    CUSTOM_SCALES: _columns(
        ("Name", "string", "name", "Name must be unique within a namespace."),
        ("Desired", "integer", "", "Number of desired replicas"),
        ("Available", "integer", "", "Number of actual replicas"),
        ("Age", "date", "", "Time since the object was created."),
    ),
}


def _scale_cells(obj: Object) -> list[Any]:
    desired, actual = obj["spec"].get("replicas") or 0, obj["status"].get("replicas") or 0
    return [obj["metadata"]["name"], desired, actual, age(obj)]


def _stored(resource: Resource, obj: Object) -> Object:
    """Return the form in which a built-in object is stored: rows show it in every version alike."""
    conversion = STORED_AS.get(resource)
    return obj if conversion is None or conversion.send is not None else conversion.to_stored(obj)


def partial(obj: Object, version: str = "v1") -> Object:
    """Return the metadata of an object as PartialObjectMetadata."""
    return {"kind": negotiate.PARTIAL, "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def transform(form: Form, resource: Resource | None, obj: Object, include: str) -> Object:
    """Return one object as `form` asks. A Status stays what it is; what can only be created has no table."""
    if resource is None or obj.get("kind") == "Status":
        return obj
    if form.kind == negotiate.TABLE and resource.verbs == _CREATED_ONLY:
        raise NotAcceptable(f"only the following media types are accepted: {MEDIA_TYPES}")
    if form.kind == negotiate.PARTIAL_LIST:
        if resource.custom is not None:
            refusal = InternalError("content is not a list")
            refusal.status_reason = ""
            raise refusal
        package = "v1" if resource is CUSTOM_SCALES else "core"
        what = f"*{package}.{resource.kind}"
        raise NotAcceptable(f"you requested PartialObjectMetadataList, but the requested object is not a list ({what})")
    if form.kind == negotiate.PARTIAL:
        return partial(obj, form.version)
    metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    return table(resource, [obj], metadata, include=include, version=form.version)


def transform_list(form: Form, resource: Resource, objects: Sequence[Object], metadata: Object, include: str) -> Object:
    """Return a list as `form` asks."""
    if form.kind == negotiate.PARTIAL:
        kind = f"core.{resource.kind}List" if resource.custom is None else "unstructured.UnstructuredList"
        raise NotAcceptable(f"you requested PartialObjectMetadata, but the requested object is a list (*{kind})")
    # Lists of custom resources say that they are complete, what is made of them does not.
    metadata = {member: value for member, value in metadata.items() if member != "continue" or value}
    if form.kind == negotiate.PARTIAL_LIST:
        return {
            "kind": negotiate.PARTIAL_LIST,
            "apiVersion": f"meta.k8s.io/{form.version}",
            "metadata": metadata,
            "items": [partial(obj, form.version) for obj in objects],
        }
    rows = printers.ordered(resource, objects)
    return table(resource, rows, metadata, include=include, version=form.version)


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
    scales = _SCALE_COLUMNS.get(resource)
    columns = scales or printers.columns(resource)
    rows = []
    for obj in objects:
        row: Object = {
            "cells": _scale_cells(obj) if scales is not None else printers.cells(resource, _stored(resource, obj)),
            "object": None,
        }
        conditions = printers.row_conditions(resource, obj)
        if conditions:
            row["conditions"] = conditions
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
