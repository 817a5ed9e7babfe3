"""From a checked tree to Python closures.

Every node becomes a function of the frame, a list whose first two members are the cost so far and its limit and whose
others are the variables, each at a place of its own. Each step of a macro and each function that reads through its
arguments adds to the cost; what does not depend on the data is added once (`weight`).
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from wherry.api.cel import ast
from wherry.api.cel.associative import is_associative, joined, same_members
from wherry.api.cel.functions import Overload
from wherry.api.cel.macros import loop
from wherry.api.cel.parser import qualified
from wherry.api.cel.types import Type
from wherry.api.cel.values import NONE, CostExceeded, EvalError, Optional, Struct, TypeValue, equals, no_overload

Code = Callable[[list[Any]], Any]

COST, LIMIT, FIRST = 0, 1, 2
UNSET: Any = object()
_COMPARISONS = {"_<_": operator.lt, "_<=_": operator.le, "_>_": operator.gt, "_>=_": operator.ge}
_COMPARED = frozenset({"int", "uint", "double", "string", "timestamp", "duration"})
_EQUAL = frozenset({"bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"})
_CHARACTERS_PER_UNIT = 10


class Compiler(ast.Visitor[Code]):
    """Compiles one tree. `slots` says where each variable is; loop variables get further places."""

    def __init__(self, variables: list[str]) -> None:
        self._slots = {name: FIRST + at for at, name in enumerate(variables)}
        self.size = FIRST + len(variables)
        self.weight = 0
        self.used: set[str] = set()
        self._globals = frozenset(variables)

    def compile(self, node: ast.Node) -> Code:
        """Return the code of a node."""
        self.weight += 1
        return self.visit(node)

    def _const(self, node: ast.Const) -> Code:
        value = node.value
        self.weight -= 1
        return lambda frame: value

    def _ident(self, node: ast.Ident) -> Code:
        return self._named(node.name)

    def _named(self, name: str) -> Code:
        slot = self._slots.get(name)
        if slot is None:
            named = TypeValue(_CANONICAL.get(name, name))
            return lambda frame: named
        if name not in self._globals or slot >= FIRST + len(self._globals):
            return lambda frame: frame[slot]
        self.used.add(name)

        def read(frame: list[Any]) -> Any:
            value = frame[slot]
            if value is UNSET:
                raise EvalError(f"no such attribute(s): {name}")
            return value

        return read

    def _select(self, node: ast.Select) -> Code:
        name = qualified(node)
        if node.type.kind == "type" and name is not None and not node.test and name.split(".")[0] not in self._slots:
            return self._named(name)
        operand, key, field = self.compile(node.operand), node.key, node.field
        if node.test:
            return lambda frame: _has(operand(frame), key)
        if node.optional or node.operand.type.kind == "optional":
            return lambda frame: _maybe(operand(frame), key)

        def select(frame: list[Any]) -> Any:
            holder = operand(frame)
            try:
                return holder[key]
            except KeyError:
                raise EvalError(f"no such key: {field}") from None
            except TypeError:
                if holder.__class__ is Optional:
                    return _maybe(holder, key)
                raise no_overload() from None

        return select

    def _call(self, node: ast.Call) -> Code:
        args = [self.compile(arg) for arg in ([node.target] if node.target is not None else []) + node.args]
        kinds = [arg.type.kind for arg in ([node.target] if node.target is not None else []) + node.args]
        match node.function:
            case "_&&_" | "_||_":
                return _logic(*args, ends=node.function == "_||_")
            case "_?_:_":
                return _conditional(*args)
            case "or" | "orValue" if kinds[0] == "optional" and len(args) == 2:
                return _or_value(args[0], args[1], flat=node.function == "or")
            case "_==_" | "_!=_":
                return _equality(node, args)
            case "_+_" if is_associative(node.args[0].type):
                kind, (left, right) = node.args[0].type, args
                return lambda frame: joined(kind, left(frame), right(frame))
        compare = _COMPARISONS.get(node.function)
        if compare is not None and kinds[0] == kinds[1] and kinds[0] in _COMPARED:
            left, right = args
            return lambda frame: compare(left(frame), right(frame))
        return _application(node.overloads, args, dynamic=any(map(_is_dynamic, self._argument_types(node))))

    @staticmethod
    def _argument_types(node: ast.Call) -> list[Type]:
        return [arg.type for arg in ([node.target] if node.target is not None else []) + node.args]

    def _list(self, node: ast.ListLiteral) -> Code:
        items = [self.compile(item) for item in node.items]
        if all(isinstance(item, ast.Const) for item in node.items):
            values = [item.value for item in node.items if isinstance(item, ast.Const)]
            return lambda frame: values
        if not node.optionals:
            return lambda frame: [item(frame) for item in items]
        optionals = node.optionals

        def build(frame: list[Any]) -> list[Any]:
            out = []
            for at, item in enumerate(items):
                value = item(frame)
                if at not in optionals:
                    out.append(value)
                elif value.present:
                    out.append(value.value)
            return out

        return build

    def _map(self, node: ast.MapLiteral) -> Code:
        entries = [(self.compile(key), self.compile(value), optional) for key, value, optional in node.entries]

        def build(frame: list[Any]) -> dict[Any, Any]:
            out: dict[Any, Any] = {}
            for make_key, make_value, optional in entries:
                key, value = make_key(frame), make_value(frame)
                if optional:
                    if not value.present:
                        continue
                    value = value.value
                if key in out:
                    raise EvalError(f"Failed with repeated key: {key}")
                out[key] = value
            return out

        return build

    def _struct(self, node: ast.StructLiteral) -> Code:
        fields = node.type.fields
        entries = [
            (fields[name].key if name in fields else name, self.compile(value), optional)
            for name, value, optional in node.entries
        ]
        name = node.name

        def build(frame: list[Any]) -> Struct:
            out: dict[str, Any] = {}
            for key, make, optional in entries:
                value = make(frame)
                if not optional:
                    out[key] = value
                elif value.present:
                    out[key] = value.value
            return Struct(name, out)

        return build

    def _comprehension(self, node: ast.Comprehension) -> Code:
        over = self.compile(node.range)
        hidden = {name: self._slots.get(name) for name in node.variables}
        slots = [self._place(name) for name in node.variables]
        outside, self.weight = self.weight, 1
        steps = [self.compile(arg) for arg in node.args]
        inside, self.weight = self.weight, outside
        self._restore(hidden)
        return loop(node.macro, over, slots, steps, inside)

    def _place(self, name: str) -> int:
        self._slots[name] = self.size
        self.size += 1
        return self._slots[name]

    def _restore(self, hidden: Mapping[str, int | None]) -> None:
        for name, slot in hidden.items():
            if slot is None:
                del self._slots[name]
            else:
                self._slots[name] = slot

    def _optional_map(self, node: ast.OptionalMap) -> Code:
        operand, flat = self.compile(node.operand), node.flat
        hidden = {node.variable: self._slots.get(node.variable)}
        slot = self._place(node.variable)
        body = self.compile(node.body)
        self._restore(hidden)

        def apply(frame: list[Any]) -> Any:
            holder = operand(frame)
            if holder.__class__ is not Optional:
                raise no_overload()
            if not holder.present:
                return NONE
            frame[slot] = holder.value
            value = body(frame)
            return value if flat else Optional(value)

        return apply


_CANONICAL = {"timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration"}


def _is_dynamic(kind: Type) -> bool:
    return kind.kind in ("dyn", "parameter") or any(map(_is_dynamic, kind.params))


def _has(holder: Any, key: str) -> bool:
    if holder.__class__ is Optional:
        return bool(holder.present and _has(holder.value, key))
    if isinstance(holder, Mapping):
        return key in holder
    raise no_overload()


def _maybe(holder: Any, key: str) -> Optional:
    if holder.__class__ is Optional:
        return _maybe(holder.value, key) if holder.present else NONE
    if not isinstance(holder, Mapping):
        raise no_overload()
    if key not in holder:
        return NONE
    value = holder[key]
    return value if value.__class__ is Optional else Optional(value)


def _logic(left: Code, right: Code, *, ends: bool) -> Code:
    """``&&`` ends with false, ``||`` with true, on whichever side and even if the other side fails."""
    goes_on = not ends

    def both(frame: list[Any]) -> bool:
        try:
            first = left(frame)
        except CostExceeded:
            raise
        except EvalError as error:
            try:
                second = right(frame)
            except CostExceeded:
                raise
            except EvalError:
                raise error from None
            if second is ends:
                return ends
            raise error from None
        if first is ends:
            return ends
        second = right(frame)
        if second is ends:
            return ends
        if first is goes_on and second is goes_on:
            return goes_on
        raise no_overload()

    return both


def _conditional(condition: Code, then: Code, otherwise: Code) -> Code:
    def choose(frame: list[Any]) -> Any:
        value = condition(frame)
        if value is True:
            return then(frame)
        if value is False:
            return otherwise(frame)
        raise no_overload()

    return choose


def _or_value(holder: Code, other: Code, *, flat: bool) -> Code:
    def choose(frame: list[Any]) -> Any:
        value = holder(frame)
        if value.__class__ is not Optional:
            raise no_overload()
        if not value.present:
            return other(frame)
        return value if flat else value.value

    return choose


def _equality(node: ast.Call, args: list[Code]) -> Code:
    left, right = args
    a, b = node.args[0].type, node.args[1].type
    wanted = node.function == "_==_"
    if a.kind == b.kind and a.kind in _EQUAL:
        if wanted:
            return lambda frame: left(frame) == right(frame)
        return lambda frame: left(frame) != right(frame)
    if is_associative(a if a.list_type else b):
        return lambda frame: same_members(left(frame), right(frame)) is wanted
    return lambda frame: equals(left(frame), right(frame)) is wanted


def _application(overloads: list[Overload], args: list[Code], *, dynamic: bool) -> Code:
    traversal = max((overload.traversal for overload in overloads), default=())
    if len(overloads) == 1 and not dynamic:
        run = overloads[0].run
        if traversal:
            return _measured(run, args, traversal)
        match args:
            case [one]:
                return lambda frame: run(one(frame))
            case [one, two]:
                return lambda frame: run(one(frame), two(frame))
        return lambda frame: run(*[arg(frame) for arg in args])

    def choose(*values: Any) -> Any:
        for overload in overloads:
            if overload.takes(values):
                return overload.run(*values)
        raise no_overload()

    return _measured(choose, args, traversal)


def _measured(run: Callable[..., Any], args: list[Code], traversal: tuple[int, ...]) -> Code:
    def apply(frame: list[Any]) -> Any:
        values = [arg(frame) for arg in args]
        for index in traversal:
            value = values[index]
            if value.__class__ is str or value.__class__ is list:
                frame[COST] += len(value) // _CHARACTERS_PER_UNIT
        if frame[COST] > frame[LIMIT]:
            raise CostExceeded
        return run(*values)

    return apply
