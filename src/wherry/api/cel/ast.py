"""The tree of an expression. `at` is an offset into its text; the checker fills in `type`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from wherry.api.cel.types import DYN, Type

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Node:
    """Any expression."""

    at: int
    type: Type = field(default=DYN, kw_only=True)


@dataclass(slots=True, eq=False)
class Const(Node):
    """A literal."""

    value: Any
    kind: Type


@dataclass(slots=True, eq=False)
class Ident(Node):
    """A variable or the name of a type."""

    name: str


@dataclass(slots=True, eq=False)
class Select(Node):
    """``operand.field``; `test` for ``has(operand.field)``, `optional` for ``operand.?field``."""

    operand: Node
    field: str
    test: bool = False
    optional: bool = False
    key: str = ""


@dataclass(slots=True, eq=False)
class Call(Node):
    """A function or operator; `target` is the receiver. The checker leaves the overloads that may be meant."""

    function: str
    target: Node | None
    args: list[Node]
    overloads: list[Any] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ListLiteral(Node):
    """``[a, ?b]``; `optionals` are the indexes of optional elements."""

    items: list[Node]
    optionals: frozenset[int]


@dataclass(slots=True, eq=False)
class MapLiteral(Node):
    """``{k: v, ?k: v}``; the third of an entry says that it is optional."""

    entries: list[tuple[Node, Node, bool]]


@dataclass(slots=True, eq=False)
class StructLiteral(Node):
    """``Name{field: v}``."""

    name: str
    entries: list[tuple[str, Node, bool]]


@dataclass(slots=True, eq=False)
class Comprehension(Node):
    """A macro over a list or map: `variables` are its one or two loop variables, `args` what is evaluated for each."""

    macro: str
    range: Node
    variables: list[str]
    args: list[Node]


@dataclass(slots=True, eq=False)
class OptionalMap(Node):
    """``operand.optMap(v, expression)``, with `flat` ``optFlatMap``."""

    operand: Node
    variable: str
    body: Node
    flat: bool


def children(node: Node) -> list[Node]:
    """Return the parts of a node."""
    match node:
        case Select():
            return [node.operand]
        case Call():
            return ([] if node.target is None else [node.target]) + node.args
        case ListLiteral():
            return node.items
        case MapLiteral():
            return [part for key, value, _ in node.entries for part in (key, value)]
        case StructLiteral():
            return [value for _, value, _ in node.entries]
        case Comprehension():
            return [node.range, *node.args]
        case OptionalMap():
            return [node.operand, node.body]
    return []


class Visitor(ABC, Generic[T]):
    """Makes something of every kind of node."""

    def visit(self, node: Node) -> T:
        """Return what the method for the kind of `node` makes of it."""
        match node:
            case Const():
                return self._const(node)
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListLiteral():
                return self._list(node)
            case MapLiteral():
                return self._map(node)
            case StructLiteral():
                return self._struct(node)
            case Comprehension():
                return self._comprehension(node)
            case OptionalMap():
                return self._optional_map(node)
        raise TypeError(node)

    @abstractmethod
    def _const(self, node: Const) -> T: ...

    @abstractmethod
    def _ident(self, node: Ident) -> T: ...

    @abstractmethod
    def _select(self, node: Select) -> T: ...

    @abstractmethod
    def _call(self, node: Call) -> T: ...

    @abstractmethod
    def _list(self, node: ListLiteral) -> T: ...

    @abstractmethod
    def _map(self, node: MapLiteral) -> T: ...

    @abstractmethod
    def _struct(self, node: StructLiteral) -> T: ...

    @abstractmethod
    def _comprehension(self, node: Comprehension) -> T: ...

    @abstractmethod
    def _optional_map(self, node: OptionalMap) -> T: ...
