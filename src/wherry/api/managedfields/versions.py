"""Field sets of several versions: each entry is compared in the version in which its manager wrote.

Source of the rules: structured-merge-diff ``merge.Updater`` and ``typed.ReconcileFieldSetWithSchema``.
"""

from dataclasses import replace
from typing import Protocol

from wherry.api.errors import StatusError
from wherry.api.managedfields.entries import Entries
from wherry.api.managedfields.fieldset import LEAF, Node, recursive_difference, union
from wherry.api.managedfields.walk import root_of
from wherry.api.meta import Object
from wherry.api.schema.types import Type, TypeSchema


class Versions(Protocol):
    """The versions in which a kind is known."""

    def schema(self, api_version: str) -> TypeSchema | None:
        """Return the schema of a version, None for one that nobody knows (any more)."""
        ...

    def convert(self, obj: Object, api_version: str) -> Object:
        """Return `obj`, which is not changed, in a version that `schema` knows. May raise Unconverted, Undeclared."""
        ...


class Unconverted(Exception):
    """An object is needed in a version that only a webhook can make."""

    def __init__(self, obj: Object, api_version: str) -> None:
        super().__init__(api_version)
        self.obj = obj
        self.api_version = api_version


class Undeclared(StatusError):
    """An object has in another version what that version does not declare: upstream gives up then, too."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.status_reason = ""


def converted(versions: Versions, obj: Object, api_version: str, what: str) -> Object:
    """Return `obj` in a version. Raises Unconverted, and Undeclared, which says `what` was to be done."""
    try:
        return versions.convert(obj, api_version)
    except Undeclared as problem:
        raise Undeclared(f"{what}: {problem}") from None


class OneVersion:
    """The versions of a kind that has one."""

    def __init__(self, type_schema: TypeSchema) -> None:
        self._schema = type_schema

    def schema(self, api_version: str) -> TypeSchema | None:
        """Return the schema of the one version."""
        return self._schema if api_version == self._schema.api_version else None

    def convert(self, obj: Object, api_version: str) -> Object:
        """Return `obj`: there is nothing to convert to."""
        return obj


class Changes:
    """What one write changes and removes, told in any version. `reset` fields count in none."""

    def __init__(self, old: Object, new: Object, *, versions: Versions, schema: TypeSchema, reset: Node | None) -> None:
        self._old, self._new = old, new
        self._versions = versions
        self._reset = reset
        self.changed, self.removed = self._compared(old, new, schema)
        self._known = {schema.api_version: (self.changed, self.removed)}

    def of(self, api_version: str) -> tuple[Node, Node]:
        """Return the changed and the removed fields in a version that is known."""
        found = self._known.get(api_version)
        if found is None:
            schema = self._versions.schema(api_version)
            assert schema is not None
            old = converted(self._versions, self._old, api_version, "failed to convert old object")
            new = converted(self._versions, self._new, api_version, "failed to convert new object")
            found = self._known[api_version] = self._compared(old, new, schema)
        return found

    def _compared(self, old: Object, new: Object, schema: TypeSchema) -> tuple[Node, Node]:
        changed, removed = root_of(schema).compare(old, new)
        if self._reset:
            changed, removed = recursive_difference(changed, self._reset), recursive_difference(removed, self._reset)
        return changed, removed


def known(entries: Entries, versions: Versions) -> Entries:
    """Return the entries of known versions, as their schemas of today have it.

    A value that became atomic (a custom resource's schema can change) belongs as a whole to whoever owned parts of it.
    """
    out: Entries = {}
    for key, entry in entries.items():
        schema = versions.schema(entry.api_version)
        if schema is None:
            continue
        if schema.structural is not None:
            fields = _reconciled(schema.root, entry.fields)
            entry = entry if fields is entry.fields else replace(entry, fields=fields)
        out[key] = entry
    return out


def by_version(entries: Entries) -> dict[str, Node]:
    """Return all fields that are owned, by the version in which they are told."""
    out: dict[str, Node] = {}
    for entry in entries.values():
        out[entry.api_version] = union(out.get(entry.api_version, {}), entry.fields)
    return out


def _reconciled(kind: Type, node: Node) -> Node:
    if not node:
        return node
    if kind.atomic or (kind.kind == "list" and kind.list_type == "atomic"):
        return LEAF
    out, same = {}, True
    for element, child in node.items():
        below = _type_of(kind, element) if child else None
        found = child if below is None else _reconciled(below, child)
        same = same and found is child
        out[element] = found
    return node if same else out


def _type_of(kind: Type, element: str) -> Type | None:
    if element.startswith("f:"):
        member = kind.fields.get(element[2:])
        if member is not None:
            return member.type
        return kind.element if kind.kind == "map" else None
    return kind.element if element.startswith("k:") else None
