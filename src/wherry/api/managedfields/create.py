"""Tracking of creates: who makes an object owns all that it was given."""

from wherry.api.managedfields.entries import wire
from wherry.api.managedfields.fieldset import Node, recursive_difference
from wherry.api.managedfields.walk import root_of
from wherry.api.meta import Object
from wherry.api.schema.types import TypeSchema


def given_fields(obj: Object, type_schema: TypeSchema, *, reset: Node | None = None) -> Node:
    """Return the set of fields that the maker of `obj` owns but for those in `reset`; `obj` may be a part of one.

    That of a whole is that of its metadata and that of the rest together.
    """
    root = root_of(type_schema)
    given, _ = root.compare({name: value for name, value in root.zero.items() if name in obj}, obj)
    return recursive_difference(given, reset) if reset else given


def track_create(
    fields: Node, *, manager: str, operation_time: str, api_version: str, subresource: str = ""
) -> list[Object]:
    """Return the ``managedFields`` of a new object of which `manager` owns `fields`; empty when it owns none."""
    if not fields:
        return []
    return [wire(manager, "Update", api_version, fields, time=operation_time, subresource=subresource)]
