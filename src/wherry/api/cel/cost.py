"""What an expression may cost at most, told from the sizes that its types allow (cel-go ``checker/cost.go``).

Units are those of the API server's limits: about one per step; reading a string costs a tenth per character.
"""

import math
from typing import NamedTuple

from wherry.api.cel import ast
from wherry.api.cel.types import Type

UNBOUNDED = (1 << 64) - 1

RULE_LIMIT = 10_000_000
"""What one rule may be estimated to cost."""

TOTAL_LIMIT = 100_000_000
"""What all rules of one schema may be estimated to cost."""

_LIST, _MAP, _STRUCT = 10, 30, 40
_PER_CHARACTER = 0.1
_PER_REGEX_CHARACTER = 0.25
_MULTIPLIED = frozenset({"matches", "find", "findAll"})
_ORDER = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_SCALARS = frozenset({"bool", "int", "uint", "double", "timestamp", "duration", "null", "type"})


class Estimate(NamedTuple):
    """The most that a node costs, and the most characters or members that its value has."""

    cost: int
    size: int


def estimate(root: ast.Node) -> int:
    """Return the most that a checked tree costs."""
    return _node(root).cost


def _capped(value: int) -> int:
    return min(value, UNBOUNDED)


def _share(size: int, factor: float) -> int:
    return UNBOUNDED if size >= UNBOUNDED else math.ceil(size * factor)


def _size(kind: Type) -> int:
    if kind.kind in _SCALARS:
        return 1
    if kind.size is None:
        return 0 if kind.kind == "object" else UNBOUNDED  # comparing objects is not counted
    return kind.size


def _node(node: ast.Node) -> Estimate:
    match node:
        case ast.Const():
            return Estimate(0, len(node.value) if isinstance(node.value, (str, bytes)) else 1)
        case ast.Ident():
            return Estimate(1, _size(node.type))
        case ast.Select():
            operand = _node(node.operand)
            return Estimate(_capped(operand.cost + (not node.test)), UNBOUNDED if node.optional else _size(node.type))
        case ast.Call():
            return _call(node)
        case ast.ListLiteral():
            return Estimate(_capped(_LIST + sum(_node(item).cost for item in node.items)), len(node.items))
        case ast.MapLiteral():
            cost = sum(_node(key).cost + _node(value).cost for key, value, _ in node.entries)
            return Estimate(_capped(_MAP + cost), len(node.entries))
        case ast.StructLiteral():
            return Estimate(_capped(_STRUCT + sum(_node(value).cost for _, value, _ in node.entries)), 1)
        case ast.Comprehension():
            return _comprehension(node)
        case ast.OptionalMap():
            operand, body = _node(node.operand), _node(node.body)
            return Estimate(_capped(operand.cost + body.cost + 2), body.size)
    raise TypeError(node)


def _call(node: ast.Call) -> Estimate:
    args = [_node(arg) for arg in ([node.target] if node.target is not None else []) + node.args]
    total = sum(arg.cost for arg in args)
    size = _size(node.type)
    match node.function:
        case "_&&_" | "_||_":
            return Estimate(_capped(total), 1)
        case "_?_:_":
            return Estimate(_capped(args[0].cost + max(args[1].cost, args[2].cost)), max(args[1].size, args[2].size))
        case "_[_]":
            return Estimate(_capped(total + 1), size)
        case "_[?_]" | "value" | "orValue":  # what an optional holds has lost its bounds
            return Estimate(_capped(total + 1), 1 if node.type.kind in _SCALARS else UNBOUNDED)
        case "bytes" if node.args[0].type.kind == "string":
            return Estimate(_capped(total + _share(args[0].size, _PER_CHARACTER)), _capped(4 * args[0].size))
        case "_+_" if node.type.kind in ("string", "bytes", "list"):
            joined = _capped(args[0].size + args[1].size)
            own = 1 if node.type.kind == "list" else _share(joined, _PER_CHARACTER)
            return Estimate(_capped(total + own), joined)
        case "@in":
            return Estimate(_capped(total + (1 if node.args[1].type.kind == "map" else args[1].size)), 1)
        case "contains" if node.target is not None:
            read = _share(args[0].size, _PER_CHARACTER) * _share(args[1].size, _PER_CHARACTER)
            return Estimate(_capped(total + read), 1)
        case "slice" | "reverse" | "flatten" | "sort" | "distinct" | "@sortByAssociatedKeys" | "lists.range":
            own = _of_list(node, args[0].size)
            return Estimate(_capped(total + own + _LIST + 1), own)
        case "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" if _is_list(node.target):
            compared = _element(node.target)
            each = 1 + (_share(_element_size(node.target), _PER_CHARACTER) if compared.kind in _TEXTS else 0)
            return Estimate(_capped(total + args[0].size * each), 1)
        case "int" | "uint" | "double" | "bool" | "timestamp" | "duration" | "isURL":
            return Estimate(_capped(total + 1), 1)
        case "string" if node.args and node.args[0].type.kind not in _TEXTS:
            return Estimate(_capped(total + 1), UNBOUNDED)
        case "sets.contains" | "sets.intersects" | "sets.equivalent":
            pairs = args[0].size * args[1].size * (2 if node.function == "sets.equivalent" else 1)
            return Estimate(_capped(total + pairs + 1), 1)
        case "ip.isCanonical":
            return Estimate(_capped(total + _share(args[0].size, 2 * _PER_CHARACTER)), 1)
        case "containsIP" | "containsCIDR":
            read = _share(args[1].size, _PER_CHARACTER) if node.args[0].type.kind == "string" else 0
            return Estimate(_capped(total + read + _COMPARED_ADDRESSES[node.function]), 1)
        case "validate" if node.target is not None:
            return Estimate(_capped(total + _share(args[1].size, _PER_CHARACTER) * _NAME_FORMAT), 1)
        case "_==_" if node.args[0].type.kind == "opaque":
            return Estimate(_capped(total + 1), 1)
        case "join" if node.target is not None:
            joined = args[0].size * _element_size(node.target)
            if node.args:
                joined += args[1].size * max(args[0].size - 1, 0)
            return Estimate(_capped(total + _share(_capped(joined), _PER_CHARACTER)), _capped(joined))
        case "split" if node.target is not None:
            limit = node.args[1] if len(node.args) > 1 else None
            most = limit.value % (1 << 64) if isinstance(limit, ast.Const) else args[0].size
            return Estimate(_capped(total + _share(args[0].size, 2 * _PER_CHARACTER)), most)
        case "replace" if node.target is not None:
            return Estimate(_capped(total + _share(args[0].size, 2 * _PER_CHARACTER)), _replaced(node, args))
    if node.function in _ORDER:
        return Estimate(_capped(total + _share(min(args[0].size, args[1].size), _PER_CHARACTER)), 1)
    if node.function in _MULTIPLIED:
        read = _share(_capped(args[0].size + 1), _PER_CHARACTER) * _share(args[1].size, _PER_REGEX_CHARACTER)
        return Estimate(_capped(total + read), args[0].size)
    return _other(node, args, total)


_COMPARED_ADDRESSES = {"containsIP": 4, "containsCIDR": 7}
_NAME_FORMAT = 32
"""What a character costs that is matched against the format of a name."""
_TEXTS = ("string", "bytes")


def _is_list(node: ast.Node | None) -> bool:
    return node is not None and node.type.kind == "list"


def _element(node: ast.Node | None) -> Type:
    assert node is not None
    return node.type.element


def _element_size(node: ast.Node | None) -> int:
    """Return the size of the members of a list, which only the schema of a field can bound."""
    element = _element(node)
    if element.kind in _TEXTS and not isinstance(node, (ast.Ident, ast.Select)):
        return UNBOUNDED
    return _size(element)


def _replaced(node: ast.Call, args: list[Estimate]) -> int:
    """Return the most characters after a replacement: what is replaced may be as short as its type allows."""
    text, taken, put = args[0].size, node.args[0], args[2].size
    least = len(taken.value) if isinstance(taken, ast.Const) else 0
    if not least:
        return _capped((text + 1) * put + text)
    return text if put <= least else _capped(math.ceil(text / least) * put)


def _of_list(node: ast.Call, size: int) -> int:
    """Return what a function that makes a list of one costs beside what all do; it counts as the list's size, too."""
    literals = [arg.value if isinstance(arg, ast.Const) else None for arg in node.args]
    match node.function:
        case "slice":
            end, start = literals[1] if literals[1] is not None else size, literals[0] or 0
            return max(end - start, 0)
        case "lists.range":
            return UNBOUNDED if literals[0] is None else max(literals[0], 0)
        case "flatten":
            depth = 1 if not literals else UNBOUNDED if literals[0] is None else max(literals[0], 0)
            return _capped(size * depth)
        case "reverse":
            return size
    # sort and distinct compare all with all; of text a part is read
    compared = node.args[0] if node.args else node.target
    text = compared is not None and compared.type.element.kind in _TEXTS
    return _share(_capped(size * size), 2 + _PER_CHARACTER * text)


_AS_LONG = frozenset({"lowerAscii", "upperAscii", "substring", "trim", "string", "url", "jsonpatch.escapeKey", "dyn"})
"""Functions whose results are as long as what they read at most; of others nothing is known."""


def _other(node: ast.Call, args: list[Estimate], total: int) -> Estimate:
    """A function of a library: what it reads, and a result of which mostly nothing is known."""
    read = {index for overload in node.overloads for index in overload.traversal if index < len(args)}
    target = node.target.type if node.target is not None else node.args[0].type if node.args else None
    factor = 1.0 if target is not None and target.kind == "list" else _PER_CHARACTER
    cost = sum(_share(args[index].size, factor) for index in read) or 1
    size = _size(node.type)
    if size == UNBOUNDED and node.function in _AS_LONG:
        size = args[0].size
    elif node.function == "strings.quote":
        size = _capped(2 * args[0].size + 2)
    return Estimate(_capped(total + cost), size)


# Of each macro: what one step costs beside its expressions, and what all of it costs once (its expansion to a fold).
_FOLDS = {"all": (3, 1), "exists": (4, 1), "exists_one": (2, 2), "filter": (13, 11), "map": (12, 11)}
_OTHER_FOLD = (32, 31)


def _comprehension(node: ast.Comprehension) -> Estimate:
    over = _node(node.range)
    step, once = _FOLDS.get(node.macro, _OTHER_FOLD if node.macro.startswith("transformMap") else _FOLDS["map"])
    each = step + sum(_node(arg).cost for arg in node.args)
    return Estimate(_capped(over.cost + once + over.size * each), 1 if node.type.kind == "bool" else over.size)
