"""Members of a list or map that an expression writes are of one type, but for what ``format`` shows.

Source of the rule: cel-go ``cel.ValidateHomogeneousAggregateLiterals``, which Kubernetes enables. It looks at
expressions that are correct otherwise.
"""

from collections.abc import Iterator

from wherry.api.cel import ast
from wherry.api.cel.source import Problem
from wherry.api.cel.types import Type

_EXEMPT = "format"


def problems(root: ast.Node) -> list[Problem]:
    """Return what a checked tree mixes."""
    out: list[Problem] = []
    for node in _literals(root):
        if isinstance(node, ast.ListLiteral):
            out += _mixed([(item, at in node.optionals) for at, item in enumerate(node.items)])[:1]
        else:
            out += _mixed([(key, False) for key, _, _ in node.entries])
            out += _mixed([(value, optional) for _, value, optional in node.entries])
    return sorted(out, key=lambda problem: problem.at)


def _literals(node: ast.Node) -> Iterator[ast.ListLiteral | ast.MapLiteral]:
    if isinstance(node, (ast.ListLiteral, ast.MapLiteral)):
        yield node
    if not (isinstance(node, ast.Call) and node.function == _EXEMPT):
        for child in ast.children(node):
            yield from _literals(child)


def _mixed(members: list[tuple[ast.Node, bool]]) -> list[Problem]:
    kinds = [(member, member.type.element if optional else member.type) for member, optional in members]
    return [
        Problem(member.at, f"expected type '{kinds[0][1]}' but found '{kind}'")
        for member, kind in kinds[1:]
        if not _equivalent(kinds[0][1], kind)
    ]


def _equivalent(one: Type, other: Type) -> bool:
    """Tell whether types are the same; what an empty list or map holds is whatever the others hold."""
    if one.kind != other.kind or one.name != other.name:
        return False
    return all(
        a.kind == "dyn" or b.kind == "dyn" or _equivalent(a, b) for a, b in zip(one.params, other.params, strict=False)
    )
