"""The tree of an expression. `at` is an offset into its text; the checker fills in `type`."""

from dataclasses import dataclass, field
from typing import Any

from wherry.api.cel.types import DYN, Type


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
