"""Server-side apply (sig-api-machinery KEP 555; structured-merge-diff ``merge``)."""

from dataclasses import replace
from operator import itemgetter
from typing import Any

import orjson

from wherry.api.errors import BadRequest, Conflict, StatusError
from wherry.api.managedfields.entries import Entries, Entry, cap_updates, decode, encode
from wherry.api.managedfields.fieldset import (
    Node,
    difference,
    intersection,
    paths,
    recursive_difference,
    show_path,
    union,
)
from wherry.api.managedfields.merge import merge, remove, with_named_members
from wherry.api.managedfields.track import release
from wherry.api.managedfields.validate import join_errors, typed_errors
from wherry.api.managedfields.versions import Changes, OneVersion, Versions, by_version, converted, known
from wherry.api.managedfields.walk import Root, root_of
from wherry.api.meta import Object
from wherry.api.schema.types import TypeSchema

BEFORE_FIRST_APPLY = "before-first-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL = "kubectl"
_PRUNING = "failed to prune fields"


def apply(
    live: Object | None,
    config: Object,
    *,
    manager: str,
    force: bool,
    operation_time: str,
    api_version: str,
    subresource: str,
    type_schema: TypeSchema,
    reset: Node | None = None,
    versions: Versions | None = None,
) -> Object:
    """Return a new object: `live` with what `manager` wants, without what it wanted before and nobody else does.

    `live` is None when the object does not exist. `config` is the body as it was sent, not conformed. `reset` is the
    set of fields that this endpoint does not write. `versions` are those in which managers may have
    written, None for this one alone; entries of others go. The result still has to be conformed, defaulted
    and validated; its ``managedFields`` are final. When nothing changes the result equals `live` but for added
    ownership.

    Raises Conflict with a ``FieldManagerConflict`` cause per field when others own what changes and `force` is not set,
    BadRequest and StatusError (500) for a configuration that is not one of the kind.
    """
    _check_type(config, api_version, type_schema)
    stored = live if type_schema.structural is not None else None
    if stored is not None and not stored["metadata"].get("managedFields"):
        what = "failed to create manager for existing fields: failed to convert new object ({}) to smd typed"
        _check_live(stored, type_schema, what)
    _check(config, type_schema)
    if stored is not None:
        _check_live(stored, type_schema, "failed to create typed live object ({})")
    base = _base(live, config, type_schema)
    walkers = root_of(type_schema)
    versions = versions or OneVersion(type_schema)
    first = Entry(BEFORE_FIRST_APPLY, "Update", api_version, subresource, {}, operation_time)
    entries = known(_entries_before(live, base, walkers, type_schema, first=first, reset=reset), versions)
    for version in dict.fromkeys(entry.api_version for entry in entries.values()):
        versions.convert(base, version)  # which must be possible, whoever is asked for what
    wanted = walkers.to_set(config)
    wanted = recursive_difference(wanted, reset) if reset else wanted
    own = Entry(manager, "Apply", api_version, subresource, wanted)
    last = entries.get(own.key)
    others = {key: entry for key, entry in entries.items() if key != own.key}
    merged: Object = merge(type_schema.root, base, config)
    if last is not None and last.fields:
        # What the configuration names outside of its set (the name, the type) is no less wanted.
        full = own.with_fields(walkers.full_set(config))
        merged = _pruned(merged, last, {**others, own.key: full}, versions)
    changes = Changes(base, merged, versions=versions, schema=type_schema, reset=reset)
    if not force:
        _refuse_conflicts(_allowed(others, changes, manager, base, walkers, type_schema))
    after = release(others, changes)
    if wanted:
        moment = operation_time if live is None or merged != base else (last.time if last else None)
        after[own.key] = replace(own, time=moment)
    metadata = dict(merged.get("metadata") or {})
    metadata.pop("managedFields", None)
    encoded = encode(cap_updates(after))
    if encoded:
        metadata["managedFields"] = encoded
    return {**merged, "metadata": metadata}


def _check_type(config: Object, api_version: str, type_schema: TypeSchema) -> None:
    if (config.get("apiVersion") or "", config.get("kind") or "") != (api_version, type_schema.kind):
        raise BadRequest(f"invalid object type: {_gvk(config)}")


def _gvk(config: Object) -> str:
    group, _, version = (config.get("apiVersion") or "").rpartition("/")
    # What is no group and version at all leaves nothing of the kind either.
    return "/, Kind=" if "/" in group else f"{group}/{version}, Kind={config.get('kind') or ''}"


def _check(config: Object, type_schema: TypeSchema) -> None:
    metadata = config.get("metadata") or {}
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    errors = typed_errors(type_schema.root, config)
    if errors:
        name = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
        error = StatusError(f"failed to create typed patch object ({name}; {_gvk(config)}): {join_errors(errors)}")
        error.status_reason = ""
        raise error


def _check_live(live: Object, type_schema: TypeSchema, what: str) -> None:
    """Refuse to apply to an object whose values are not of the types of a schema, which may have changed."""
    errors = typed_errors(type_schema.root, live, duplicates=True)
    if errors:
        name = f"{live['metadata'].get('namespace') or ''}/{live['metadata']['name']}; {_gvk(live)}"
        error = StatusError(f"{what.format(name)}: {join_errors(errors)}")
        error.status_reason = ""
        raise error


def _base(live: Object | None, config: Object, type_schema: TypeSchema) -> Object:
    if live is None:
        return {"apiVersion": config["apiVersion"], "kind": config["kind"], **type_schema.zero()}
    metadata = {name: value for name, value in live["metadata"].items() if name != "managedFields"}
    return {**live, "metadata": metadata}


def _entries_before(
    live: Object | None, base: Object, walkers: Root, type_schema: TypeSchema, *, first: Entry, reset: Node | None
) -> Entries:
    """Return the entries of the live object; of one that nobody tracked, all it has belongs to one update, `first`."""
    if live is None:
        return {}
    entries = decode(live["metadata"].get("managedFields")) or {}
    if not entries:
        fields, _ = walkers.compare(type_schema.zero(), base)
        fields = recursive_difference(fields, reset) if reset else fields
        entries = {first.key: first.with_fields(fields)} if fields else {}
    return entries


def _pruned(merged: Object, last: Entry, entries: Entries, versions: Versions) -> Object:
    """Return `merged` without what the manager's last configuration had, unless somebody (`entries`) still wants it.

    The last configuration is taken away in the version in which it was applied; what others own is put back in theirs.
    """
    given, then = merged["apiVersion"], last.api_version
    held = converted(versions, merged, then, f"{_PRUNING}: failed to convert merged object to last applied version")
    schema = versions.schema(then)
    assert schema is not None
    named = with_named_members(schema.root, last.fields)
    pruned = _removed(schema.root, held, named)
    everything = _members(held, schema)
    owned = by_version(entries)
    if then in owned:
        pruned = _with_owned(held, pruned, owned.pop(then), schema, everything=everything)
    for version, fields in owned.items():
        there = versions.schema(version) or schema
        adding = f"{_PRUNING}: failed add back owned items: failed to convert"
        held = converted(versions, held, version, f"{adding} merged object at version {version}")
        pruned = converted(versions, pruned, version, f"{adding} pruned object at version {version}")
        pruned = _with_owned(held, pruned, fields, there, everything=_members(held, there))
    if owned:
        held, pruned = versions.convert(held, then), versions.convert(pruned, then)
        everything = _members(held, schema)
    unwanted = intersection(difference(everything, _members(pruned, schema)), named)
    return versions.convert(_removed(schema.root, held, unwanted), given)


def _with_owned(held: Object, pruned: Object, owned: Node, schema: TypeSchema, *, everything: Node) -> Object:
    """Return `held`, which has `everything`, without what `pruned` lacks and nobody owns."""
    kept = union(_members(pruned, schema), with_named_members(schema.root, owned))
    return _removed(schema.root, held, difference(everything, kept))


def _members(obj: Object, schema: TypeSchema) -> Node:
    return with_named_members(schema.root, root_of(schema).full_set(obj))


def _removed(kind: Any, merged: Object, fields: Node) -> Object:
    if not fields:
        return merged
    out: Object = remove(kind, merged, fields) or {}
    if not isinstance(out.get("metadata"), dict):
        out["metadata"] = {}
    return out


Conflicts = list[tuple[Entry, Node]]


def _allowed(
    others: Entries, changes: Changes, manager: str, base: Object, walkers: Root, type_schema: TypeSchema
) -> Conflicts:
    """Return what others own of what changes; kubectl may take what its last-applied annotation shows to be its own."""
    conflicts = [
        (entry, taken)
        for entry in others.values()
        if (taken := intersection(entry.fields, changes.of(entry.api_version)[0]))
    ]
    if not conflicts or manager != _KUBECTL:
        return conflicts
    allowed = _last_applied(base, walkers, type_schema)
    if not allowed:
        return conflicts
    return [(entry, left) for entry, taken in conflicts if (left := difference(taken, allowed))]


def _last_applied(base: Object, walkers: Root, type_schema: TypeSchema) -> Node:
    text = (base["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return {}
    try:
        config = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(config, dict) or typed_errors(type_schema.root, config):
        return {}
    fields = walkers.to_set(config)
    unchanged, _ = walkers.compare(merge(type_schema.root, base, config), base)
    return difference(fields, unchanged)


def _refuse_conflicts(conflicts: Conflicts) -> None:
    if not conflicts:
        return
    found = [(entry.describe(), show_path(path)) for entry, fields in conflicts for path in paths(fields)]
    found.sort(key=itemgetter(0))
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in found
    ]
    raise Conflict(_conflict_message(found), {"causes": causes})


def _conflict_message(found: list[tuple[str, str]]) -> str:
    if len(found) == 1:
        return f"Apply failed with 1 conflict: conflict with {found[0][0]}: {found[0][1]}"
    lines: list[str] = []
    for manager in sorted({manager for manager, _ in found}):
        lines.append(f"conflicts with {manager}:")
        lines += [f"- {path}" for other, path in found if other == manager]
    return f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
