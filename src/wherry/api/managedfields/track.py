"""Tracking of updates: what a POST, PUT or PATCH set becomes its manager's, what it removed nobody's."""

from dataclasses import replace

from wherry.api.managedfields.entries import Entries, Entry, cap_updates, decode, encode, without_times
from wherry.api.managedfields.fieldset import Node, difference, intersection, union
from wherry.api.managedfields.versions import Changes, OneVersion, Versions, known
from wherry.api.meta import Object
from wherry.api.schema.types import TypeSchema


def track_update(
    old: Object | None,
    new: Object,
    *,
    manager: str,
    operation_time: str,
    api_version: str,
    subresource: str,
    type_schema: TypeSchema,
    reset: Node | None = None,
    versions: Versions | None = None,
) -> list[Object]:
    """Return the ``managedFields`` of `new` after an update by `manager`; empty when nothing is tracked.

    `old` is the live object, None for a create. `reset` is the set of fields that this endpoint does not write.
    `versions` are those in which managers may have written, None for this one alone; entries of others go. An object
    that lost its entries (or was given ``[{}]``) is tracked again from the next apply on.
    """
    live = old or type_schema.zero()
    entries = _given(live, new, bool(subresource))
    if not entries and old is not None and old["metadata"].get("uid"):
        return []
    versions = versions or OneVersion(type_schema)
    changes = Changes(live, new, versions=versions, schema=type_schema, reset=reset)
    changed = changes.changed
    taken = release(known(entries, versions), changes)
    if changed:
        own = Entry(manager, "Update", api_version, subresource, changed, operation_time)
        before = taken.get(own.key)
        taken[own.key] = own if before is None else own.with_fields(union(before.fields, changed))
    return encode(cap_updates(taken))


def release(entries: Entries, changes: Changes) -> Entries:
    """Return the entries without what somebody else changed or removed; empty ones go."""
    out = {}
    for key, entry in entries.items():
        fields = entry.fields
        changed, removed = changes.of(entry.api_version)
        if changed:
            taken = intersection(fields, changed)
            fields = difference(fields, taken) if taken else fields
        if removed:
            fields = difference(fields, removed)
        if fields:
            out[key] = entry if fields is entry.fields else replace(entry, fields=fields)
    return out


def _given(live: Object, new: Object, subresource: bool) -> Entries:
    """Return the entries to go on from: those of the request when it brings its own, else those of the live object."""
    stored = decode(live["metadata"].get("managedFields")) or {}
    if subresource:
        return stored
    asked = new["metadata"].get("managedFields")
    if asked == [] or (asked and len(asked) == 1 and not any(asked[0].values())):
        return {}
    return decode(asked) or stored


def same_but_managed_fields(new: Object, old: Object) -> bool:
    """Tell whether two objects differ in nothing but times of their ``managedFields``: a write would be in vain."""
    mine, theirs = new["metadata"], old["metadata"]
    if len(mine) != len(theirs) or len(new) != len(old):
        return False
    for name, value in new.items():
        if name != "metadata" and (name not in old or old[name] != value):
            return False
    for name, value in mine.items():
        if name not in theirs or (name != "managedFields" and theirs[name] != value):
            return False
    return without_times(mine.get("managedFields")) == without_times(theirs.get("managedFields"))
