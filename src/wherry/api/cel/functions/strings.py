"""The string library and the regular expressions of Kubernetes' ``find``."""

import json
import re
from itertools import islice
from typing import Any

from wherry.api.cel.functions import add, function
from wherry.api.cel.functions.times import format_duration, format_timestamp
from wherry.api.cel.regex import compiled
from wherry.api.cel.values import EvalError, TypeValue, kind_of, show_double

_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


@function("string:charAt(int) -> string")
def char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise EvalError(f"index out of range: {index}")
    return text[index : index + 1]


@function("string:indexOf(string) -> int", "string:indexOf(string, int) -> int", traversal=(0,))
def index_of(text: str, part: str, start: int = 0) -> int:
    if part and not 0 <= start < max(len(text), 1):
        if start < 0 or start > len(text):
            raise EvalError(f"index out of range: {start}")
        return -1
    return text.find(part, start)


@function("string:lastIndexOf(string) -> int", "string:lastIndexOf(string, int) -> int", traversal=(0,))
def last_index_of(text: str, part: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(part)
    if not 0 <= start < max(len(text), 1):
        raise EvalError(f"index out of range: {start}")
    return text.rfind(part, 0, start + len(part))


add("string:lowerAscii() -> string", lambda text: text.translate(_LOWER), traversal=(0,))
add("string:upperAscii() -> string", lambda text: text.translate(_UPPER), traversal=(0,))
add("string:trim() -> string", lambda text: text.strip(_SPACE), traversal=(0,))


@function("string:replace(string, string) -> string", "string:replace(string, string, int) -> string", traversal=(0,))
def replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, max(limit, -1))


@function("string:split(string) -> list(string)", "string:split(string, int) -> list(string)", traversal=(0,))
def split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        characters = list(text)
        return characters if limit < 0 or limit >= len(text) else [*characters[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


@function("string:substring(int) -> string", "string:substring(int, int) -> string", traversal=(0,))
def substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if end is not None and start > end:
        raise EvalError(f"invalid substring range. start: {start}, end: {end}")
    for index in (start, stop):
        if not 0 <= index <= len(text):
            raise EvalError(f"index out of range: {index}")
    return text[start:stop]


add("list(string):join() -> string", "".join, traversal=(0,))
add("list(string):join(string) -> string", lambda items, separator: _join(items, separator), traversal=(0,))


def _join(items: list[Any], separator: str) -> str:
    if not all(isinstance(item, str) for item in items):
        raise EvalError("no such overload")
    return separator.join(items)


add("strings.quote(string) -> string", lambda text: json.dumps(text, ensure_ascii=False), traversal=(0,))


@function("string:find(string) -> string", traversal=(0, 1))
def find(text: str, pattern: str) -> str:
    return next(compiled(pattern).find(text), "")


@function("string:findAll(string) -> list(string)", "string:findAll(string, int) -> list(string)", traversal=(0, 1))
def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = compiled(pattern).find(text)
    return list(found if limit < 0 else islice(found, limit))


_CLAUSE = re.compile(r"%(?:%|(?:\.(\d*))?(.?))", re.DOTALL)
_INTEGERS_ONLY = {"d": "decimal", "o": "octal"}


def bad_template(template: str, kinds: list[str]) -> tuple[int, str] | None:
    """Return what is wrong with a template for values of these kinds, and with which of them."""
    used = 0
    for clause in _CLAUSE.finditer(template):
        if clause[0] == "%%":
            continue
        verb = clause[2]
        if not verb or verb not in "sdfeboxX":
            return used, f'could not parse formatting clause: unrecognized formatting clause "{verb}"'
        if used >= len(kinds):
            return used, f"index {used} out of range"
        if verb in _INTEGERS_ONLY and kinds[used] not in ("int", "uint", "dyn"):
            rule = f"{_INTEGERS_ONLY[verb]} clause can only be used on integers"
            return used, f"error during formatting: {rule}, was given {kinds[used]}"
        used += 1
    if used < len(kinds):
        return 0, f"too many arguments supplied to string.format (expected {used}, got {len(kinds)})"
    return None


@function("string:format(list(dyn)) -> string", traversal=(0,))
def format_string(template: str, args: list[Any]) -> str:
    out, at, used = [], 0, 0
    while at < len(template):
        char = template[at]
        at += 1
        if char != "%":
            out.append(char)
            continue
        if template[at : at + 1] == "%":
            out.append("%")
            at += 1
            continue
        precision = None
        if template[at : at + 1] == ".":
            end = at + 1
            while template[end : end + 1].isdigit():
                end += 1
            precision, at = int(template[at + 1 : end] or 0), end
        verb = template[at : at + 1]
        if not verb:
            raise EvalError("unexpected end of string")
        if used >= len(args):
            raise EvalError(f"index {used} out of range")
        out.append(_format(verb, args[used], precision))
        used += 1
        at += 1
    return "".join(out)


_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def _format(verb: str, value: Any, precision: int | None) -> str:
    kind = kind_of(value)
    match verb:
        case "s":
            return render(value)
        case "d" if kind in ("int", "uint"):
            return str(int(value))
        case "f" if kind in ("int", "uint", "double"):
            return f"{value:,.{6 if precision is None else precision}f}"
        case "e" if kind in ("int", "uint", "double"):
            mantissa, _, exponent = f"{value:.6e}".partition("e")
            return f"{mantissa}×10{exponent.removeprefix('+').translate(_RAISED)}"
        case "b" if kind in ("int", "uint", "bool"):
            return f"{int(value):b}"
        case "o" if kind in ("int", "uint"):
            return f"{int(value):o}"
        case "x" | "X" if kind in ("int", "uint"):
            return format(int(value), verb)
        case "x" | "X" if kind in ("string", "bytes"):
            text = (value.encode() if kind == "string" else value).hex()
            return text.upper() if verb == "X" else text
    if verb not in "sdfeboxX":
        raise EvalError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')
    raise EvalError(f"error during formatting: {verb} clause does not take a {kind}")


def render(value: Any) -> str:
    """Return a value as ``%s`` shows it."""
    kind = kind_of(value)
    match kind:
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
            return f"[{', '.join(map(render, value))}]"
        case "map":
            return "{" + ", ".join(sorted(f"{render(k)}: {render(v)}" for k, v in value.items())) + "}"
    return value.name if isinstance(value, TypeValue) else str(value)
