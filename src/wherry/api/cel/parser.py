"""From text to tree: a recursive descent over CEL's grammar that expands the macros on the way."""

from typing import Any

from wherry.api.cel import ast
from wherry.api.cel.source import CompileError, Problem, Token, tokenize
from wherry.api.cel.types import BOOL, BYTES, DOUBLE, INT, NULL, STRING, UINT
from wherry.api.cel.values import INT_MAX, INT_MIN, UINT_MAX, Uint

_LEVELS = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
OPERATORS = {
    "||": "_||_",
    "&&": "_&&_",
    "==": "_==_",
    "!=": "_!=_",
    "<": "_<_",
    "<=": "_<=_",
    ">": "_>_",
    ">=": "_>=_",
    "in": "@in",
    "+": "_+_",
    "-": "_-_",
    "*": "_*_",
    "/": "_/_",
    "%": "_%_",
}
_MAX_DEPTH = 250
_MACROS = {
    "all": ("all", (2, 3)),
    "exists": ("exists", (2, 3)),
    "exists_one": ("exists_one", (2,)),
    "existsOne": ("exists_one", (3,)),
    "map": ("map", (2, 3)),
    "filter": ("filter", (2,)),
    "transformList": ("transformList", (3, 4)),
    "transformMap": ("transformMap", (3, 4)),
    "transformMapEntry": ("transformMapEntry", (3, 4)),
}
_TWO_VARIABLES = frozenset({"transformList", "transformMap", "transformMapEntry"})


def parse(text: str) -> ast.Node:
    """Return the tree of an expression. Raises CompileError."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> ast.Node:
        node = self._expression()
        if self._peek.kind != "end":
            raise self._unexpected()
        return node

    @property
    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _accept(self, kind: str) -> Token | None:
        return self._next() if self._peek.kind == kind else None

    def _expect(self, kind: str) -> Token:
        if self._peek.kind != kind:
            raise self._unexpected()
        return self._next()

    def _unexpected(self) -> CompileError:
        token = self._peek
        shown = "<EOF>" if token.kind == "end" else str(token.value)
        return self._error(token.at, f"Syntax error: mismatched input '{shown}' expecting an expression")

    def _error(self, at: int, text: str) -> CompileError:
        return CompileError(self._text, [Problem(at, text)])

    def _expression(self) -> ast.Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(self._peek.at, f"expression recursion limit exceeded: {_MAX_DEPTH}")
        node = self._binary(0)
        question = self._accept("?")
        if question is not None:
            then = self._binary(0)
            self._expect(":")
            node = ast.Call(question.at, "_?_:_", None, [node, then, self._expression()])
        self._depth -= 1
        return node

    def _binary(self, level: int) -> ast.Node:
        if level == len(_LEVELS):
            return self._unary()
        node = self._binary(level + 1)
        while self._peek.kind in _LEVELS[level]:
            token = self._next()
            node = ast.Call(token.at, OPERATORS[token.kind], None, [node, self._binary(level + 1)])
        return node

    def _unary(self) -> ast.Node:
        token = self._peek
        if token.kind not in ("!", "-"):
            return self._member()
        count = 0
        while self._accept(token.kind):
            count += 1
        if token.kind == "-" and self._peek.kind in ("int", "double") and count % 2:
            node = self._member(negative=True)
            return node
        node = self._member()
        if count % 2 == 0:
            return node
        return ast.Call(token.at, "!_" if token.kind == "!" else "-_", None, [node])

    def _member(self, *, negative: bool = False) -> ast.Node:
        node = self._primary(negative=negative)
        while True:
            token = self._peek
            if token.kind == ".":
                node = self._dotted(node)
            elif token.kind == "[":
                self._next()
                optional = self._accept("?") is not None
                index = self._expression()
                self._expect("]")
                node = ast.Call(token.at, "_[?_]" if optional else "_[_]", None, [node, index])
            elif token.kind == "{" and _qualified(node) is not None:
                node = self._struct(node, token)
            else:
                return node

    def _dotted(self, node: ast.Node) -> ast.Node:
        dot = self._next()
        optional = self._accept("?") is not None
        name = self._expect("ident").value
        opening = None if optional else self._accept("(")
        if opening is None:
            return ast.Select(dot.at, node, name, optional=optional)
        args = self._arguments()
        return self._macro(node, name, args, opening.at) or ast.Call(opening.at, name, node, args)

    def _arguments(self, closing: str = ")") -> list[ast.Node]:
        args: list[ast.Node] = []
        while not self._accept(closing):
            args.append(self._expression())
            if self._peek.kind != closing:
                self._expect(",")
        return args

    def _primary(self, *, negative: bool = False) -> ast.Node:
        token = self._next()
        match token.kind:
            case "int" | "uint" | "double" | "string" | "bytes" | "literal":
                return self._literal(token, negative)
            case "ident":
                return self._identifier(token)
            case ".":
                return self._identifier(self._expect("ident"))
            case "(":
                node = self._expression()
                self._expect(")")
                return node
            case "[":
                return self._list(token)
            case "{":
                return self._map(token)
        self._at -= 1
        raise self._unexpected()

    def _literal(self, token: Token, negative: bool) -> ast.Node:
        value: Any = token.value
        if token.kind in ("int", "double"):
            value = -value if negative else value
        if token.kind == "int" and not INT_MIN <= value <= INT_MAX:
            raise self._error(token.at, "invalid int literal")
        if token.kind == "uint":
            if value > UINT_MAX:
                raise self._error(token.at, "invalid uint literal")
            value = Uint(value)
        kinds = {"int": INT, "uint": UINT, "double": DOUBLE, "string": STRING, "bytes": BYTES}
        return ast.Const(token.at, value, kinds.get(token.kind) or (NULL if value is None else BOOL))

    def _identifier(self, token: Token) -> ast.Node:
        opening = self._accept("(")
        if opening is None:
            return ast.Ident(token.at, token.value)
        args = self._arguments()
        if token.value == "has" and len(args) == 1:
            selected = args[0]
            if not isinstance(selected, ast.Select) or selected.optional:
                raise self._error(selected.at, "invalid argument to has() macro")
            return ast.Select(selected.at, selected.operand, selected.field, test=True)
        return ast.Call(opening.at, token.value, None, args)

    def _list(self, token: Token) -> ast.Node:
        items: list[ast.Node] = []
        optionals = set()
        while not self._accept("]"):
            if self._accept("?"):
                optionals.add(len(items))
            items.append(self._expression())
            if self._peek.kind != "]":
                self._expect(",")
        return ast.ListLiteral(token.at, items, frozenset(optionals))

    def _map(self, token: Token) -> ast.Node:
        entries = []
        while not self._accept("}"):
            optional = self._accept("?") is not None
            key = self._expression()
            self._expect(":")
            entries.append((key, self._expression(), optional))
            if self._peek.kind != "}":
                self._expect(",")
        return ast.MapLiteral(token.at, entries)

    def _struct(self, node: ast.Node, token: Token) -> ast.Node:
        self._next()
        entries = []
        while not self._accept("}"):
            optional = self._accept("?") is not None
            name = self._expect("ident").value
            self._expect(":")
            entries.append((name, self._expression(), optional))
            if self._peek.kind != "}":
                self._expect(",")
        return ast.StructLiteral(token.at, _qualified(node) or "", entries)

    def _macro(self, target: ast.Node, name: str, args: list[ast.Node], at: int) -> ast.Node | None:
        if name in ("optMap", "optFlatMap") and len(args) == 2:
            return ast.OptionalMap(at, target, self._variable(args[0]), args[1], name == "optFlatMap")
        if name == "sortBy" and len(args) == 2:
            keys = ast.Comprehension(at, "map", target, [self._variable(args[0])], args[1:])
            return ast.Call(at, "@sortByAssociatedKeys", target, [keys])
        found = _MACROS.get(name)
        if found is None or len(args) not in found[1]:
            return None
        macro, _ = found
        two = macro in _TWO_VARIABLES or (len(args) == 3 and macro != "map")
        variables = [self._variable(arg) for arg in args[: 1 + two]]
        if len(set(variables)) != len(variables):
            raise self._error(args[1].at, f"duplicate variable name: {variables[0]}")
        return ast.Comprehension(at, macro, target, variables, args[1 + two :])

    def _variable(self, node: ast.Node) -> str:
        if not isinstance(node, ast.Ident):
            raise self._error(node.at, "argument must be a simple name")
        return node.name


def _qualified(node: ast.Node) -> str | None:
    """Return the dotted name that a node may be, None when it is none."""
    if isinstance(node, ast.Ident):
        return node.name
    if isinstance(node, ast.Select) and not node.test and not node.optional:
        head = _qualified(node.operand)
        return f"{head}.{node.field}" if head else None
    return None


qualified = _qualified
