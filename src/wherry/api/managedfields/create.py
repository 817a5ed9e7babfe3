"""Tracking of creates: who makes an object owns all that it was given."""

from wherry.api.managedfields.entries import Entry, encode
from wherry.api.managedfields.fieldset import Node, recursive_difference
from wherry.api.managedfields.walk import root_of
from wherry.api.meta import Object
from wherry.api.schema.types import TypeSchema


def given_fields(obj: Object, type_schema: TypeSchema, *, reset: Node | None = None) -> Node:
    """Return the set of fields that the maker of `obj` owns but for those in `reset`; `obj` may be a part of one.

    That of a whole is that of its metadata and that of the rest together.
    """
    zero = type_schema.zero()
    given, _ = root_of(type_schema).compare({name: zero[name] for name in zero if name in obj}, obj)
    return recursive_difference(given, reset) if reset else given


def track_create(
    fields: Node, *, manager: str, operation_time: str, api_version: str, subresource: str = ""
) -> list[Object]:
    """Return the ``managedFields`` of a new object of which `manager` owns `fields`; empty when it owns none."""
    entry = Entry(manager, "Update", api_version, subresource, fields, operation_time)
    return encode({entry.key: entry}) if fields else []
