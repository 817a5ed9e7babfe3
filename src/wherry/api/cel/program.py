"""Compiling and evaluating expressions: `compile` and `Program`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.api.cel import ast, homogeneous
from wherry.api.cel.check import Checker, StructResolver
from wherry.api.cel.compile import FIRST, UNSET, Code, Compiler
from wherry.api.cel.parser import parse
from wherry.api.cel.source import CompileError, InstantiationError, Problem
from wherry.api.cel.types import Type
from wherry.api.cel.values import EvalError

PER_CALL_LIMIT = 1_000_000
"""What one evaluation may cost (apiserver ``cel.PerCallLimit``)."""


_MAX_SIZE = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled expression. `type` is the type of its value, `used` the declared variables that it reads."""

    text: str
    type: Type
    tree: ast.Node
    used: frozenset[str]
    variables: tuple[str, ...]
    _code: Code
    _weight: int
    _frame: tuple[Any, ...]

    def evaluate(self, bindings: Mapping[str, Any], *, limit: int = PER_CALL_LIMIT) -> Any:
        """Return the value. `bindings` gives values to variables; one without is an error only when it is read.

        Objects and maps are mappings (they may make their members when asked), lists are lists. Raises EvalError;
        CostExceeded, a kind of it, when the cost passes `limit`.
        """
        return self.measure(bindings, limit=limit)[0]

    def measure(self, bindings: Mapping[str, Any], *, limit: int = PER_CALL_LIMIT) -> tuple[Any, int]:
        """Return the value and what it cost. Raises EvalError."""
        frame: list[Any] = [self._weight, limit, *self._frame]
        for at, name in enumerate(self.variables):
            if name in bindings:
                frame[FIRST + at] = bindings[name]
        try:
            value = self._code(frame)
        except (AttributeError, TypeError) as error:
            # Dynamic values may be of a type that a function does not take.
            raise EvalError("no such overload") from error
        except RecursionError:
            raise EvalError("evaluation too deep") from None
        return value, frame[0]


def _no_structs(name: str) -> Type | None:
    return None


def compile(expression: str, variables: Mapping[str, Type], *, structs: StructResolver = _no_structs) -> Program:
    """Return the program of an expression over typed `variables`.

    `structs` knows the types that the expression may make (``Object{…}``, which become `values.Struct`). Raises
    CompileError, whose `told` is what Kubernetes answers.
    """
    if len(expression) > _MAX_SIZE:
        text = f"expression code point size exceeds limit: size: {len(expression)}, limit {_MAX_SIZE}"
        raise CompileError("", [Problem(0, text)])
    try:
        tree = parse(expression)
        checker = Checker(variables, structs)
        kind = checker.check(tree)
        if checker.problems:
            raise CompileError(expression, sorted(checker.problems))
        if mixed := homogeneous.problems(tree):
            raise CompileError(expression, mixed)
        if checker.unconverted:
            raise InstantiationError(checker.unconverted)
        compiler = Compiler(list(variables))
        code = compiler.compile(tree)
    except RecursionError:
        raise CompileError(expression, [Problem(0, "expression recursion limit exceeded: 250")]) from None
    slots = (UNSET,) * (compiler.size - FIRST)
    return Program(expression, kind, tree, frozenset(compiler.used), tuple(variables), code, compiler.weight, slots)
