"""Operations on typed values: merging an apply configuration, removing fields (structured-merge-diff ``typed``)."""

from typing import Any, Final

import orjson

from wherry.api.managedfields.fieldset import LEAF, Node, is_member
from wherry.api.managedfields.walk import ANY, key_maker
from wherry.api.schema.types import Type

ABSENT: Final = object()


def child_type(kind: Type, name: str) -> Type:
    """Return the type of a member of a struct, map or value without a schema."""
    if kind.kind == "struct":
        field = kind.fields.get(name)
        return field.type if field else ANY
    return kind.element if kind.kind == "map" and kind.element is not None else ANY


def merges(kind: Type, value: Any) -> bool:
    """Tell whether a map is merged member by member."""
    if kind.atomic:
        return False
    return kind.kind in ("struct", "map") or (kind.kind in ("any", "one-of") and isinstance(value, dict))


def element_of(kind: Type) -> Type:
    """Return the type of a list's items or a map's values."""
    return kind.element or ANY


def path_element(kind: Type, item: Any) -> str:
    """Return the path element of an item of a set or a list with keys."""
    if kind.list_type == "set":
        return "v:" + orjson.dumps(item).decode()
    return key_maker(kind)(item)


def merge(kind: Type, live: Any, config: Any) -> Any:
    """Return `live` with `config` merged in; the configuration wins. Both stay as they are."""
    if live is ABSENT:
        live = None
    if config is None and live and _merged_with_null(kind, live):
        return live
    if not isinstance(live, dict) or not isinstance(config, dict) or not merges(kind, config):
        if kind.kind == "list" and not kind.atomic and isinstance(live, list) and isinstance(config, list):
            return _merge_list(kind, live, config)
        return config
    if not live and not config:
        return config
    out = dict(live)
    for name, value in config.items():
        out[name] = merge(child_type(kind, name), out[name], value) if name in out else value
    return out


def _merged_with_null(kind: Type, live: Any) -> bool:
    """Tell whether a value is merged member by member: there null says as little as an empty map or list."""
    if isinstance(live, list):
        return kind.kind == "list" and not kind.atomic
    return isinstance(live, dict) and merges(kind, live)


def _merge_list(kind: Type, live: list[Any], config: list[Any]) -> list[Any]:
    """Merge lists by key: the configuration's order, the items of the server alone where they stood among them."""
    ours = {path_element(kind, item): item for item in config}
    theirs: dict[str, Any] = {}
    for item in live:
        theirs.setdefault(path_element(kind, item), item)
    left = [(path_element(kind, item), item) for item in live]
    right = list(ours)
    shared = [key for key in right if key in theirs]
    done: set[str] = set()
    out: list[Any] = []

    def take(key: str) -> None:
        done.add(key)
        out.append(merge(element_of(kind), theirs[key], ours[key]) if key in theirs else ours[key])

    at = to = passed = 0
    while at < len(left) or to < len(right):
        if at < len(left) and to < len(right):
            key = left[at][0]
            if key == right[to]:
                take(key)
                at, to, passed = at + 1, to + 1, passed + 1
                continue
            if key in ours and passed < len(shared) and shared[passed] != key:
                at += 1
                continue
        if at < len(left):
            key, item = left[at]
            if key not in ours:
                out.append(item)
                at += 1
                continue
            if key in done:
                at += 1
        if to < len(right):
            key = right[to]
            if passed < len(shared) and shared[passed] == key:
                passed += 1
            if key not in done:
                take(key)
            to += 1
    return out


def remove(kind: Type, value: Any, fields: Node) -> Any:
    """Return `value` without the members and items that are in `fields`; what becomes empty becomes None."""
    if isinstance(value, dict) and merges(kind, value):
        out = {}
        for name, item in value.items():
            node = fields.get(f"f:{name}")
            if node is None:
                out[name] = item
            elif not is_member(node):
                out[name] = remove(child_type(kind, name), item, node)
        return out or None
    if isinstance(value, list) and kind.kind == "list" and not kind.atomic:
        items = []
        for item in value:
            node = fields.get(path_element(kind, item))
            if node is None:
                items.append(item)
            elif not is_member(node):
                items.append(remove(element_of(kind), item, node))
        return items or None
    return None


def with_named_members(kind: Type, fields: Node) -> Node:
    """Return `fields` with every field of a struct on the way to a member a member itself."""
    out: Node = {}
    for element, node in fields.items():
        if element == ".":
            out[element] = node
            continue
        below = element_of(kind) if element[0] != "f" else child_type(kind, element[2:])
        inner = with_named_members(below, node) if node else LEAF
        if inner and "." not in inner and element[0] == "f" and kind.kind == "struct" and element[2:] in kind.fields:
            inner = {".": LEAF, **inner}
        out[element] = inner
    return out
