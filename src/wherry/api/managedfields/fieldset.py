"""Sets of field paths in the form of the wire (``FieldsV1``), with the operations of structured-merge-diff.

A node is a dict of path elements (``f:name``, ``k:{"name":"c"}``, ``v:"x"``) to nodes; ``.`` says that the node's own
path is in the set, and so does an empty node. The root is the same without a path of its own: an empty root is the
empty set. Nodes are never changed once made; they may be shared.
"""

from typing import Any, Final

import orjson

Node = dict[str, Any]

LEAF: Final[Node] = {}


def is_member(node: Node) -> bool:
    """Tell whether the node's own path is in the set."""
    return not node or "." in node


def make(member: bool, children: Node) -> Node | None:
    """Return the node with these children, None when nothing is in it."""
    if not children:
        return LEAF if member else None
    return {".": LEAF, **children} if member else children


def union(one: Node, other: Node) -> Node:
    """Return the union of two roots."""
    if not one or not other:
        return one or other
    out = dict(one)
    for element, node in other.items():
        mine = out.get(element)
        out[element] = node if mine is None else _union(mine, node)
    return out


def _union(one: Node, other: Node) -> Node:
    if one is other:
        return one
    children = union(_children(one), _children(other))
    return make(is_member(one) or is_member(other), children) or LEAF


def difference(one: Node, other: Node) -> Node:
    """Return what is in `one` and not in `other`."""
    if not one or not other:
        return one
    out = {}
    for element, node in one.items():
        theirs = other.get(element)
        left = node if theirs is None else _difference(node, theirs)
        if left is not None:
            out[element] = left
    return out


def _difference(one: Node, other: Node) -> Node | None:
    member = is_member(one) and not is_member(other)
    return make(member, difference(_children(one), _children(other)))


def recursive_difference(one: Node, other: Node) -> Node:
    """Return `one` without the paths in `other` and all below them."""
    if not one or not other:
        return one
    out = {}
    for element, node in one.items():
        theirs = other.get(element)
        if theirs is None:
            out[element] = node
        elif not is_member(theirs):
            children = recursive_difference(_children(node), theirs)
            left = make(is_member(node), children)
            if left is not None:
                out[element] = left
    return out


def intersection(one: Node, other: Node) -> Node:
    """Return what is in both."""
    out = {}
    for element, node in one.items():
        theirs = other.get(element)
        if theirs is not None:
            both = make(is_member(node) and is_member(theirs), intersection(_children(node), _children(theirs)))
            if both is not None:
                out[element] = both
    return out


def paths(root: Node, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths in the set, each a tuple of path elements: members of a node come before what is below them."""
    nodes = [((*prefix, element), node) for element, node in sorted(root.items()) if element != "."]
    out = [path for path, node in nodes if is_member(node)]
    for path, node in nodes:
        out += paths(_children(node), path)
    return out


def show_path(path: tuple[str, ...]) -> str:
    """Return a path as conflicts show it: ``.spec.containers[name="c"].image``."""
    out = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            out += f".{rest}"
        elif kind == "k":
            keys = orjson.loads(rest)
            out += "[" + ",".join(f"{name}={show_value(keys[name])}" for name in sorted(keys)) + "]"
        elif kind == "v":
            out += f"[={show_value(orjson.loads(rest))}]"
        else:
            out += f"[{rest}]"
    return out


def show_value(value: Any) -> str:
    """Return a scalar as paths show it: strings in double quotes."""
    return orjson.dumps(value).decode()


def _children(node: Node) -> Node:
    if "." in node:
        return {element: child for element, child in node.items() if element != "."}
    return node
