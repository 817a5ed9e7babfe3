"""Types for every node of a tree, and what is wrong with them (cel-go ``checker``)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from wherry.api.cel import ast
from wherry.api.cel.functions import TABLE, Overload
from wherry.api.cel.functions.formatting import bad_template
from wherry.api.cel.functions.times import parse_duration, parse_timestamp
from wherry.api.cel.parser import qualified
from wherry.api.cel.regex import compiled
from wherry.api.cel.source import Problem
from wherry.api.cel.types import (
    BOOL,
    DYN,
    INT,
    RESERVED,
    TYPE,
    Bindings,
    Type,
    assign,
    escape,
    join,
    list_of,
    map_of,
    optional_of,
    substitute,
    unbounded,
)
from wherry.api.cel.values import EvalError

StructResolver = Callable[[str], Type | None]
"""Returns the object type that ``Name{…}`` makes, None when there is no such type."""

TYPE_NAMES = frozenset(
    {
        "bool",
        "bytes",
        "double",
        "duration",
        "dyn",
        "int",
        "list",
        "map",
        "null_type",
        "optional_type",
        "string",
        "timestamp",
        "type",
        "uint",
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
        "kubernetes.Quantity",
        "kubernetes.Semver",
        "kubernetes.URL",
        "net.CIDR",
        "net.IP",
    }
)
_CONVERSIONS = frozenset({"bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint"})
_LITERALS: dict[str, tuple[str, Callable[[str], Any], int]] = {
    "duration": ("invalid duration argument", parse_duration, 0),
    "timestamp": ("invalid timestamp argument", parse_timestamp, 0),
    "matches": ("invalid matches argument", compiled, -1),
}


_BOUNDED = frozenset({"_[_]", "reverse", "slice", "dyn"})
"""Functions whose results have the bounds of what they are made of."""


class Checker(ast.Visitor[Type]):
    """Checks one tree; `problems` are in the order of their discovery."""

    def __init__(self, variables: Mapping[str, Type], structs: StructResolver) -> None:
        self._scope = dict(variables)
        self._structs = structs
        self.problems: list[Problem] = []
        self.unconverted = ""
        """Why the first conversion of a literal fails: there is no program then."""

    def check(self, node: ast.Node) -> Type:
        """Return the type of a node, set on it and on all below it."""
        node.type = self.visit(node)
        return node.type

    def _problem(self, at: int, text: str) -> Type:
        self.problems.append(Problem(at, text))
        return DYN

    def _const(self, node: ast.Const) -> Type:
        return node.kind

    def _ident(self, node: ast.Ident) -> Type:
        found = self._scope.get(node.name)
        if found is not None:
            return found
        if node.name in TYPE_NAMES:
            return TYPE
        return self._problem(node.at, f"undeclared reference to '{node.name}' (in container '')")

    def _select(self, node: ast.Select) -> Type:
        name = qualified(node)
        if name in TYPE_NAMES and name is not None and name.split(".")[0] not in self._scope:
            return TYPE
        operand = self.check(node.operand)
        held = operand.element if operand.kind == "optional" else operand
        found = self._member(node, held)
        if node.test:
            return BOOL
        if node.optional or operand.kind == "optional":
            return found if found.kind == "optional" else optional_of(found)
        return found

    def _member(self, node: ast.Select, holder: Type) -> Type:
        node.key = node.field
        if holder.kind == "object" or holder.fields:
            member = holder.fields.get(node.field)
            if member is None and node.field in RESERVED:
                member = holder.fields.get(escape(node.field))
            if member is None:
                return self._problem(node.at, f"undefined field '{node.field}'")
            node.key = member.key
            return member.type
        if holder.kind == "map":
            return holder.element
        if holder.kind == "dyn":
            return DYN
        return self._problem(node.at, f"type '{holder}' does not support field selection")

    def _call(self, node: ast.Call) -> Type:
        if node.target is not None:
            name = qualified(node.target)
            root = name.split(".")[0] if name else ""
            if name and root not in self._scope and f"{name}.{node.function}" in TABLE:
                node.function, node.target = f"{name}.{node.function}", None
        args = ([node.target] if node.target is not None else []) + node.args
        types = [self.check(arg) for arg in args]
        member = node.target is not None
        known = TABLE.get(node.function)
        if known is None:
            return self._problem(node.at, f"undeclared reference to '{node.function}' (in container '')")
        self._check_literal(node)
        result: Type | None = None
        for overload in known:
            if overload.member is not member or len(overload.params) != len(types):
                continue
            given = self._given(overload, types)
            if given is not None:
                node.overloads.append(overload)
                result = given if result is None or result == given else DYN
        if result is None:
            shown = ", ".join(map(str, types[member:]))
            applied = f"{types[0]}.({shown})" if member else f"({shown})"
            return self._problem(node.at, f"found no matching overload for '{node.function}' applied to '{applied}'")
        if node.function in _CONVERSIONS and len(node.args) == 1 and isinstance(node.args[0], ast.Const):
            self._convert(node, node.args[0].value)
        if node.function in _BOUNDED:
            return result
        result = unbounded(result)
        if node.function == "_+_" and types[0].list_type:
            result = replace(result, list_type=types[0].list_type, keys=types[0].keys)
        return result

    @staticmethod
    def _given(overload: Overload, types: list[Type]) -> Type | None:
        bound: Bindings = {}
        if not all(assign(param, kind, bound) for param, kind in zip(overload.params, types, strict=True)):
            return None
        return substitute(overload.result, bound)

    def _check_literal(self, node: ast.Call) -> None:
        if node.function == "format" and isinstance(node.target, ast.Const) and node.args:
            self._format(node, node.target.value, node.args[0])
        rule = _LITERALS.get(node.function)
        if rule is None or not node.args:
            return
        text, parse, index = rule
        arg = node.args[index]
        if isinstance(arg, ast.Const) and isinstance(arg.value, str):
            try:
                parse(arg.value)
            except EvalError:
                self._problem(arg.at, text)

    def _convert(self, node: ast.Call, value: Any) -> None:
        for overload in node.overloads:
            if overload.takes((value,)) and not self.unconverted:
                try:
                    overload.run(value)
                except EvalError as error:
                    self.unconverted = str(error)

    def _format(self, node: ast.Call, template: Any, args: ast.Node) -> None:
        """Check a literal template against a literal list of what it formats."""
        if not isinstance(template, str) or not isinstance(args, ast.ListLiteral):
            return
        wrong = bad_template(template, args.items)
        if wrong is not None:
            item, text = wrong
            self._problem(node.at if item is None else item.at, text)

    def _list(self, node: ast.ListLiteral) -> Type:
        element: Type | None = None
        for at, item in enumerate(node.items):
            kind = self.check(item)
            if at in node.optionals:
                kind = self._held(item, kind)
            element = kind if element is None else join(element, kind)
        return list_of(DYN if element is None else element, size=len(node.items))

    def _held(self, item: ast.Node, kind: Type) -> Type:
        if kind.kind not in ("optional", "dyn"):
            return self._problem(item.at, f"expected type 'optional_type({kind})' but found '{kind}'")
        return kind.element

    def _map(self, node: ast.MapLiteral) -> Type:
        keys: Type | None = None
        values: Type | None = None
        for key, value, optional in node.entries:
            key_kind, kind = self.check(key), self.check(value)
            kind = self._held(value, kind) if optional else kind
            keys = key_kind if keys is None else join(keys, key_kind)
            values = kind if values is None else join(values, kind)
        return map_of(keys or DYN, values or DYN, size=len(node.entries))

    def _struct(self, node: ast.StructLiteral) -> Type:
        found = self._structs(node.name)
        if found is None:
            self._problem(node.at, f"undeclared reference to '{node.name}' (in container '')")
        for name, value, optional in node.entries:
            kind = self.check(value)
            kind = self._held(value, kind) if optional else kind
            member = found.fields.get(name) if found is not None else None
            if found is None or found.kind == "dyn":
                continue
            if member is None:
                self._problem(node.at, f"undefined field '{name}'")
            elif not assign(member.type, kind, {}):
                self._problem(
                    value.at, f"expected type of field '{name}' is '{member.type}' but provided type is '{kind}'"
                )
        return found or DYN

    def _comprehension(self, node: ast.Comprehension) -> Type:
        over = self.check(node.range)
        if over.kind not in ("list", "map", "dyn"):
            self._problem(
                node.range.at,
                f"expression of type '{over}' cannot be range of a comprehension (must be list, map, or dynamic)",
            )
        loop = self._loop_types(over, len(node.variables))
        hidden = {name: self._scope.get(name) for name in node.variables}
        self._scope.update(zip(node.variables, loop, strict=True))
        kinds = [self.check(arg) for arg in node.args]
        for name, before in hidden.items():
            if before is None:
                del self._scope[name]
            else:
                self._scope[name] = before
        return self._result(node, over, loop, kinds)

    @staticmethod
    def _loop_types(over: Type, count: int) -> list[Type]:
        if over.kind == "list":
            return [over.element] if count == 1 else [INT, over.element]
        if over.kind == "map" and over.params:
            return list(over.params)[:count]
        return [DYN] * count

    def _result(self, node: ast.Comprehension, over: Type, loop: list[Type], kinds: list[Type]) -> Type:
        has_condition = node.macro in ("all", "exists", "exists_one", "filter") or len(kinds) == 2
        if has_condition and kinds[0].kind not in ("bool", "dyn"):
            function = {"all": "_&&_", "exists": "_||_"}.get(node.macro, "_?_:_")
            others = {"_&&_": "(bool, {})", "_||_": "(bool, {})"}.get(function, "({}, list, list)")
            shown = others.format(kinds[0])
            self._problem(node.args[0].at, f"found no matching overload for '{function}' applied to '{shown}'")
        match node.macro:
            case "all" | "exists" | "exists_one":
                return BOOL
            case "filter":
                return list_of(loop[0], size=over.size)
            case "map" | "transformList":
                return list_of(kinds[-1], size=over.size)
            case "transformMap":
                return map_of(loop[0], kinds[-1], size=over.size)
        return kinds[-1]

    def _optional_map(self, node: ast.OptionalMap) -> Type:
        operand = self.check(node.operand)
        if operand.kind not in ("optional", "dyn"):
            name = "optFlatMap" if node.flat else "optMap"
            self._problem(node.at, f"found no matching overload for '{name}' applied to '{operand}'")
        before = self._scope.get(node.variable)
        self._scope[node.variable] = unbounded(operand.element)
        body = self.check(node.body)
        if before is None:
            del self._scope[node.variable]
        else:
            self._scope[node.variable] = before
        return body if node.flat else optional_of(body)
