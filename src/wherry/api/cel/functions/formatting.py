"""``format`` of strings (cel-go ``ext/formatting.go``, the version of the library that Kubernetes enables)."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.api.cel import ast
from wherry.api.cel.functions import function
from wherry.api.cel.functions.times import format_duration, format_timestamp
from wherry.api.cel.types import Type
from wherry.api.cel.values import EvalError, TypeValue, kind_of, show_double

_CLAUSE = re.compile(r"%(?:%|(?:\.(\d*))?(.?))", re.DOTALL)
_DIGITS = 6
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_NO_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_SHOWN = ("string", "bool", "bytes", "int", "uint", "double", "map", "list", "type", "duration", "timestamp", "null")
_CLAUSES: dict[str, tuple[tuple[str, ...], str]] = {
    "s": (
        _SHOWN,
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and "
        "timestamps",
    ),
    "d": (("int", "uint"), "decimal clause can only be used on integers"),
    "f": (("double", "string"), "fixed-point clause can only be used on doubles"),
    "e": (("double", "string"), "scientific clause can only be used on doubles"),
    "b": (("int", "uint", "bool"), "only integers and bools can be formatted as binary"),
    "o": (("int", "uint"), "octal clause can only be used on integers"),
    "x": (("int", "uint", "string", "bytes"), "only integers, byte buffers, and strings can be formatted as hex"),
}
_CLAUSES["X"] = _CLAUSES["x"]
"""Of each verb the kinds of values that it takes, and what is said of others."""

_TYPE_NAMES = {
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
    "null": "null_type",
    "optional": "optional_type",
}


def bad_template(template: str, args: Sequence[ast.Node]) -> tuple[ast.Node | None, str] | None:
    """Return what is wrong with a template for checked `args`, and with which of them (None: with all)."""
    used = 0
    for clause in _CLAUSE.finditer(template):
        if clause[0] == "%%":
            continue
        if used >= len(args):
            return None, f"index {used} out of range"
        problem = _unreadable(clause)
        if problem is not None:
            return None, problem
        kinds, rule = _CLAUSES[clause[2]]
        wrong = _wrong(args[used], kinds, deep=clause[2] == "s")
        if wrong is not None:
            return wrong, f"error during formatting: {rule}, was given {_type_name(wrong.type)}"
        used += 1
    if used < len(args):
        return None, f"too many arguments supplied to string.format (expected {used}, got {len(args)})"
    return None


def _unreadable(clause: re.Match[str]) -> str | None:
    digits, verb = clause[1], clause[2]
    if digits == "" and verb:
        number = 'error while converting precision to integer: strconv.Atoi: parsing "": invalid syntax'
        return f"could not parse formatting clause: error while parsing precision: {number}"
    if not verb:
        end = "error while parsing precision: could not find end of precision specifier"
        return "unexpected end of string" if digits is None else f"could not parse formatting clause: {end}"
    if verb not in _CLAUSES:
        return f'could not parse formatting clause: unrecognized formatting clause "{verb}"'
    return None


def _wrong(node: ast.Node, kinds: tuple[str, ...], *, deep: bool) -> ast.Node | None:
    """Return the node, or with `deep` the part of it, whose type a verb does not take."""
    if node.type.kind not in (*kinds, "dyn"):
        return node
    parts = ast.children(node) if deep and isinstance(node, (ast.ListLiteral, ast.MapLiteral)) else []
    return next((wrong for part in parts if (wrong := _wrong(part, kinds, deep=True)) is not None), None)


def _type_name(kind: Type) -> str:
    return kind.name if kind.kind in ("object", "opaque") else _TYPE_NAMES.get(kind.kind, kind.kind)


@function("string:format(list(dyn)) -> string", traversal=(0,))
def format_string(template: str, args: list[Any]) -> str:
    """Fill a template. Raises EvalError."""
    out, at, used = [], 0, 0
    for clause in _CLAUSE.finditer(template):
        out.append(template[at : clause.start()])
        at = clause.end()
        if clause[0] == "%%":
            out.append("%")
            continue
        if used >= len(args):
            raise EvalError(f"index {used} out of range")
        problem = _unreadable(clause)
        if problem is not None:
            raise EvalError(problem)
        try:
            out.append(_format(clause[2], args[used], _DIGITS if clause[1] is None else int(clause[1])))
        except EvalError as error:
            raise EvalError(f"error during formatting: {error}") from None
        used += 1
    out.append(template[at:])
    return "".join(out)


def _format(verb: str, value: Any, precision: int) -> str:
    kind = kind_of(value)
    kinds, rule = _CLAUSES[verb]
    if kind not in kinds or (verb in "fe" and kind == "string" and value not in _NO_NUMBERS):
        raise EvalError(f"{rule}, was given {_TYPE_NAMES.get(kind, kind)}")
    match verb:
        case "s":
            return render(value)
        case "f" | "e":
            return _number(verb, _NO_NUMBERS[value] if kind == "string" else value, precision)
        case "x" | "X" if kind in ("string", "bytes"):
            text: str = (value.encode() if kind == "string" else value).hex()
            return text.upper() if verb == "X" else text
    return format(int(value), verb)


def _number(verb: str, value: float, precision: int) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if verb == "f":
        return f"{value:,.{precision}f}"
    mantissa, _, exponent = f"{value:.{_DIGITS}e}".partition("e")
    return f"{mantissa}×10{exponent.removeprefix('+').translate(_RAISED)}"


def render(value: Any) -> str:
    """Return a value as ``%s`` shows it. Raises EvalError."""
    match kind_of(value):
        case "string":
            return str(value)
        case "bool":
            return "true" if value else "false"
        case "int" | "uint":
            return str(int(value))
        case "double":
            return show_double(value)
        case "null":
            return "null"
        case "bytes":
            return bytes(value).decode("utf-8", "replace")
        case "timestamp":
            return format_timestamp(value)
        case "duration":
            return format_duration(value)
        case "list":
            return f"[{', '.join(map(_literal, value))}]"
        case "map":
            return _render_map(value)
    return value.name if isinstance(value, TypeValue) else str(value)


def _render_map(value: Mapping[Any, Any]) -> str:
    pairs = []
    for key, item in value.items():
        kind = kind_of(key)
        if kind not in ("string", "bool", "int", "uint"):
            raise EvalError(f"no formatting function for map key of type {_TYPE_NAMES.get(kind, kind)}")
        pairs.append((_literal(key), _literal(item)))
    pairs.sort(key=lambda pair: pair[0])
    return "{" + ", ".join(f"{key}:{item}" for key, item in pairs) + "}"


def _literal(value: Any) -> str:
    """Return a member of a list or map as the expression would write it."""
    kind = kind_of(value)
    if kind not in _SHOWN:
        raise EvalError(f"no formatting function for {_TYPE_NAMES.get(kind, kind)}")
    match kind:
        case "string":
            return json.dumps(value, ensure_ascii=False)
        case "bytes":
            return f"b{json.dumps(render(value), ensure_ascii=False)}"
        case "timestamp" | "duration":
            return f"{kind}({json.dumps(render(value))})"
        case "double":
            return f"{value:.{_DIGITS}f}" if math.isfinite(value) else json.dumps(show_double(value))
    return render(value)
