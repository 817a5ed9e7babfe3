"""The tree of types behind a kind, from built-in definitions and custom resources' schemas alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from wherry.api.meta import Object

Kind = Literal[
    "struct",
    "map",
    "list",
    "string",
    "bytes",
    "boolean",
    "integer",
    "number",
    "quantity",
    "int-or-string",
    "time",
    "micro-time",
    "any",
    "one-of",
]
Emit = Literal["omit", "keep", "zero", "null"]
"""When a member is shown: ``omit`` unless empty, ``keep`` whenever it is given, ``zero`` always with the zero value of
its type, ``null`` always with null when it is empty."""


@dataclass(slots=True, eq=False)
class Type:
    """One type. `go` is its name in Go's messages; `atomic` ones are owned and replaced as a whole.

    `keep_unknown`: members that the schema does not name are kept (custom resources).
    ``one-of`` stands for the unions of JSONSchemaProps: `element` or what `alternatives` name.
    """

    kind: Kind
    go: str = ""
    name: str = ""
    fields: dict[str, "Field"] = field(default_factory=dict)
    element: "Type | None" = None
    atomic: bool = False
    list_type: Literal["atomic", "set", "map"] = "atomic"
    keys: tuple[str, ...] = ()
    key_defaults: dict[str, Any] = field(default_factory=dict)
    bits: int = 64
    alternatives: frozenset[str] = frozenset()
    keep_unknown: bool = False


@dataclass(slots=True, eq=False)
class Field:
    """One member of a struct, with its strategic merge patch strategies and merge key."""

    name: str
    type: Type
    emit: Emit = "omit"
    strategies: frozenset[str] = frozenset()
    merge_key: str = ""


class Conformed(NamedTuple):
    """The new object, the paths of unknown fields, and the message of the first type error (the object is then {})."""

    obj: Object
    unknown: list[str]
    error: str | None


class Anomaly(Exception):
    """The object has an unknown field or a wrong type: the fast path gives up."""


@dataclass(eq=False)
class TypeSchema:
    """The schema of one kind.

    `root` is a struct; `definition` the name of the definition, empty for a custom resource. `structural` is the
    OpenAPI v3 schema of a custom resource, None for built-in kinds.
    """

    api_version: str
    kind: str
    root: Type
    definition: str = ""
    structural: dict[str, Any] | None = None

    def conform(self, obj: Object) -> Conformed:
        """Return `obj` as upstream decodes and encodes it; `obj` is not changed.

        The type error is in Go's words, without the prefix ``Pod in version "v1" cannot be handled as a Pod:``.
        """
        try:
            return Conformed(self._build(obj), [], None)
        except Anomaly:
            from wherry.api.schema.inspect import inspect

            found = inspect(self.root, obj)
            if found.error is not None:
                return Conformed({}, found.unknown, found.error)
            return Conformed(self._build(found.pruned), found.unknown, None)

    def zero(self) -> Object:
        """Return the empty object of the kind, without ``apiVersion`` and ``kind``: what a create adds to."""
        return self._zero()

    def type_at(self, *path: str) -> Type | None:
        """Return the type of the field at `path` (``*`` is a list or map element), None if unknown."""
        found: Type | None = self.root
        for part in path:
            if found is None:
                return None
            if part == "*" or found.kind == "map":
                found = found.element
            else:
                member = found.fields.get(part)
                found = member.type if member else None
        return found

    @cached_property
    def _build(self) -> Callable[[Any], Any]:
        from wherry.api.schema.compile import builder

        return builder(self.root)

    @cached_property
    def _zero(self) -> Callable[[], Any]:
        from wherry.api.schema.compile import zero_maker

        return zero_maker(self.root)


def walk_fields(root: Type) -> Iterator[tuple[str, Field]]:
    """Yield every field below `root` once per struct type, with the name of the struct."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        current = todo.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if current.element is not None:
            todo.append(current.element)
        for member in current.fields.values():
            yield current.name, member
            todo.append(member.type)
