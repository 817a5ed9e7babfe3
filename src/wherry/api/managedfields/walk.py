"""Walks over typed values that yield field sets, compiled per type (structured-merge-diff ``typed``).

``added``: the set of a value that is new, parents included. ``compare``: what a change sets and what it removes.
``to_set``: the set that an apply configuration claims.
"""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from wherry.api.managedfields.fieldset import LEAF, Node, make
from wherry.api.schema.types import Type, TypeSchema

_STRIPPED = frozenset(
    {"name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"}
)
ANY = Type("any")


class Walkers:
    """The compiled walks of one type."""

    __slots__ = ("added", "compare", "leaf", "to_set")

    def __init__(self, *, leaf: bool = False) -> None:
        self.leaf = leaf  # known to be owned as a whole, which saves most calls
        self.added: Callable[[Any], Node] = _leaf
        self.compare: Callable[[Any, Any], tuple[Node | None, Node | None]] = compare_leaf
        self.to_set: Callable[[Any], Node | None] = _leaf


def _leaf(_: Any) -> Node:
    return LEAF


def compare_leaf(old: Any, new: Any) -> tuple[Node | None, Node | None]:
    """Compare values that are owned as a whole."""
    return (None, None) if _equal(old, new) else (LEAF, None)


def _equal(old: Any, new: Any) -> bool:
    return old == new and (old.__class__ is new.__class__ or (old.__class__ is not bool and new.__class__ is not bool))


_compiled: WeakKeyDictionary[TypeSchema, "Root"] = WeakKeyDictionary()


def root_of(type_schema: TypeSchema) -> "Root":
    """Return the compiled walks of a kind."""
    found = _compiled.get(type_schema)
    if found is None:
        found = _compiled[type_schema] = Root(type_schema)
    return found


class Root:
    """Walks over whole objects. What every object has (name, uid, times …) is no manager's and left out."""

    def __init__(self, type_schema: TypeSchema) -> None:
        compiler = _Compiler()
        self.zero = type_schema.zero()
        """What a create adds to; not to be changed."""
        root = type_schema.root
        metadata = root.fields["metadata"].type if "metadata" in root.fields else ANY
        self._metadata = compiler.struct(metadata, skip=_STRIPPED)
        types = frozenset({"apiVersion", "kind"})
        self._members = compiler.struct(root, skip=types, replaced={"metadata": self._metadata})
        self._all = compiler.struct(root)

    def compare(self, old: dict[str, Any], new: dict[str, Any]) -> tuple[Node, Node]:
        """Return the sets of fields that `new` adds or changes, and of those it removes."""
        changed, removed = self._members.compare(old, new)
        return _without_metadata(changed or {}), _without_metadata(removed or {})

    def full_set(self, value: dict[str, Any]) -> Node:
        """Return the set of all fields of a value, also of those that no manager owns."""
        return self._all.to_set(value) or {}

    def to_set(self, config: dict[str, Any]) -> Node:
        """Return the set of fields that an apply configuration names."""
        return _without_metadata(self._members.to_set(config) or {})


def _without_metadata(root: Node) -> Node:
    """Drop the path ``metadata`` itself, not what is below."""
    metadata = root.get("f:metadata")
    root = {element: node for element, node in root.items() if element != "."} if "." in root else root
    if metadata is None or (metadata and "." not in metadata):
        return root
    rest = {element: node for element, node in metadata.items() if element != "."}
    out = {element: node for element, node in root.items() if element != "f:metadata"}
    return {**out, "f:metadata": rest} if rest else out


class _Compiler:
    def __init__(self) -> None:
        self._types: dict[int, Walkers] = {}
        self._keep: list[Type] = []

    def of(self, kind: Type) -> Walkers:
        """Return the walks of a type, the same object for recursive types."""
        found = self._types.get(id(kind))
        if found is None:
            found = self._types[id(kind)] = Walkers()
            self._keep.append(kind)
            made = self._make(kind)
            found.added, found.compare, found.to_set, found.leaf = made.added, made.compare, made.to_set, made.leaf
        return found

    def _make(self, kind: Type) -> Walkers:
        match kind.kind:
            case "struct":
                return self.struct(kind)
            case "map":
                return self._map(kind)
            case "list" if kind.list_type == "set":
                return _set_list()
            case "list" if kind.list_type == "map":
                return self._keyed_list(kind)
            case "any" if not kind.atomic and kind.go not in ("string", "integer", "number", "boolean"):
                return _deduced()
            case "one-of":
                return _deduced()  # server-side apply knows no schema of a union
        return Walkers(leaf=True)

    def struct(
        self, kind: Type, *, skip: frozenset[str] = frozenset(), replaced: dict[str, Walkers] | None = None
    ) -> Walkers:
        if kind.atomic:
            return Walkers()
        fields: dict[str, Any] = {name: (f"f:{name}", self.of(field.type)) for name, field in kind.fields.items()}
        fields.update({name: (f"f:{name}", walkers) for name, walkers in (replaced or {}).items()})
        fields.update(dict.fromkeys(skip))
        other = _deduced() if kind.keep_unknown or kind.kind == "any" else None
        return _object_walkers(_finder(fields, other), named=frozenset(kind.fields))

    def _map(self, kind: Type) -> Walkers:
        if kind.atomic or kind.element is None:
            return Walkers()
        element = self.of(kind.element)
        return _object_walkers(lambda name: (f"f:{name}", element), named=frozenset())

    def _keyed_list(self, kind: Type) -> Walkers:
        assert kind.element is not None
        return _list_walkers(key_maker(kind), self.of(kind.element))


def _finder(fields: dict[str, Any], other: Walkers | None) -> Callable[[str], tuple[str, Walkers] | None]:
    if other is None:
        return fields.get

    def find(name: str) -> tuple[str, Walkers] | None:
        return fields.get(name, (f"f:{name}", other))

    return find


def _object_walkers(find: Callable[[str], tuple[str, Walkers] | None], *, named: frozenset[str]) -> Walkers:
    walkers = Walkers()

    def added(value: Any) -> Node:
        if not value:
            return LEAF
        out: Node = {".": LEAF}
        for name, item in value.items():
            found = find(name)
            if found is not None:
                path, walkers = found
                out[path] = LEAF if walkers.leaf else walkers.added(item)
        return out

    def compare(old: Any, new: Any) -> tuple[Node | None, Node | None]:
        if not old and not new:
            return compare_leaf(old, new)
        changed: Node = {}
        removed: Node = {}
        old, new = old or {}, new or {}
        for name, item in new.items():
            found = find(name)
            if found is None:
                continue
            if name not in old:
                changed[found[0]] = LEAF if found[1].leaf else found[1].added(item)
            elif old[name] is not item:
                now, gone = found[1].compare(old[name], item)
                if now is not None:
                    changed[found[0]] = now
                if gone is not None:
                    removed[found[0]] = gone
        for name, item in old.items():
            if name not in new:
                found = find(name)
                if found is not None:
                    removed[found[0]] = found[1].added(item)
        return changed or None, removed or None

    def to_set(value: Any) -> Node | None:
        children: Node = {}
        for name, item in (value or {}).items():
            found = find(name)
            if found is None:
                continue
            node = found[1].to_set(item) if item is not None and item != {} else LEAF
            if name not in named and node is not None and node and "." not in node:
                node = {".": LEAF, **node}
            if node is None and name not in named:
                node = LEAF
            if node is not None:
                children[found[0]] = node
        return children or None

    walkers.added, walkers.compare, walkers.to_set = added, compare, to_set
    return walkers


def _set_list() -> Walkers:
    scalar = Walkers()
    return _list_walkers(lambda item: "v:" + orjson.dumps(item).decode(), scalar)


def key_maker(kind: Type) -> Callable[[Any], str]:
    """Return the function that makes the path element of an item of a list with keys."""
    keys, defaults = tuple(sorted(kind.keys)), kind.key_defaults
    if len(keys) == 1 and not defaults:
        only = keys[0]
        head = f'k:{{"{only}":'

        def one(item: Any) -> str:
            return f"{head}{orjson.dumps(item.get(only)).decode()}}}"

        return one

    def many(item: Any) -> str:
        found = {key: item[key] if key in item else defaults[key] for key in keys if key in item or key in defaults}
        return "k:" + orjson.dumps(found).decode()

    return many


def _list_walkers(key_of: Callable[[Any], str], element: Walkers) -> Walkers:
    walkers = Walkers()

    def added(value: Any) -> Node:
        out: Node = {".": LEAF} if value else LEAF
        for item in value or ():
            key = key_of(item)
            out[key] = LEAF if key in out else element.added(item)
        return out

    def compare(old: Any, new: Any) -> tuple[Node | None, Node | None]:
        if not old and not new:
            return compare_leaf(old, new)
        before, after = _grouped(old, key_of), _grouped(new, key_of)
        changed: Node = {}
        removed: Node = {}
        for key, items in after.items():
            theirs = before.get(key)
            if theirs is None:
                changed[key] = element.added(items[0]) if len(items) == 1 else LEAF
            elif len(items) == 1 and len(theirs) == 1:
                now, gone = element.compare(theirs[0], items[0])
                if now is not None:
                    changed[key] = now
                if gone is not None:
                    removed[key] = gone
            elif items != theirs:
                changed[key] = LEAF
        for key, items in before.items():
            if key not in after:
                removed[key] = element.added(items[0]) if len(items) == 1 else LEAF
        return changed or None, removed or None

    def to_set(value: Any) -> Node | None:
        children: Node = {}
        for item in value or ():
            below = element.to_set(item) if isinstance(item, dict) else None
            children[key_of(item)] = make(True, {name: node for name, node in (below or {}).items() if name != "."})
        return children or None

    walkers.added, walkers.compare, walkers.to_set = added, compare, to_set
    return walkers


def _grouped(items: Any, key_of: Callable[[Any], str]) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for item in items or ():
        out.setdefault(key_of(item), []).append(item)
    return out


def _deduced() -> Walkers:
    """Values without a schema: maps are taken apart, lists and scalars are not."""
    walkers = Walkers()
    objects = _object_walkers(lambda name: (f"f:{name}", walkers), named=frozenset())

    def added(value: Any) -> Node:
        return objects.added(value) if isinstance(value, dict) else LEAF

    def compare(old: Any, new: Any) -> tuple[Node | None, Node | None]:
        # To a map null is an empty one.
        if isinstance(old, dict | None) and isinstance(new, dict | None):
            return objects.compare(old, new)
        if isinstance(new, dict):
            return objects.added(new), None
        if isinstance(old, dict):
            return LEAF, objects.compare(old, {})[1]
        return compare_leaf(old, new)

    def to_set(value: Any) -> Node | None:
        return (objects.to_set(value) or LEAF) if isinstance(value, dict) else LEAF

    walkers.added, walkers.compare, walkers.to_set = added, compare, to_set
    return walkers
