"""JSONPath as printer columns write it: ``.a.b[0]``, ``.list[*].x``, ``.list[?(@.type=="Ready")].status``."""

import re
from collections.abc import Callable
from typing import Any

Step = Callable[[Any], list[Any]]
Reader = Callable[[Any], list[Any]]

_PART = re.compile(
    r"""\.\.(?P<deep>(?:[^.\[\]\\]|\\.)+)
    |\.?\[(?P<quote>['"])(?P<quoted>(?:[^'"\\]|\\.)+)(?P=quote)\]
    |\.?\[\?\(@(?P<left>[^=!<>)]*?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>[^)]+?)\s*)?\)\]
    |\.?\[(?P<slice>-?\d*(?::-?\d*){0,2}|\*)\]
    |\.(?P<name>(?:[^.\[\]\\]|\\.)+)""",
    re.VERBOSE,
)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class _OutOfBounds(Exception):
    """An index leads out of a list, or is one of what is no list."""


class JSONPathError(ValueError):
    """The text is no path."""


def compile_path(text: str) -> Reader:
    """Return a function that finds what a path leads to.

    Nothing is found where a member is absent, and nothing at all where an index is out of the bounds of any list.
    """
    rest = text.strip().removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(rest):
        match = _PART.match(rest, at)
        if match is None:
            raise JSONPathError(f"unrecognized character in path: {rest[at:]}")
        steps.append(_step(match))
        at = match.end()

    def read(value: Any) -> list[Any]:
        found = [value]
        try:
            for step in steps:
                found = [inner for one in found for inner in step(one)]
        except _OutOfBounds:
            return []
        return found

    return read


def _step(match: "re.Match[str]") -> Step:
    if match["deep"] is not None:
        return _deep(_plain(match["deep"]))
    if match["left"] is not None:
        return _filter(match["left"], match["operator"], match["right"])
    if match["slice"] is not None:
        return _slice(match["slice"])
    name = _plain(match["quoted"] if match["quoted"] is not None else match["name"])
    if name == "*":
        return _every
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else []


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _every(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []


def _deep(name: str) -> Step:
    def find(value: Any) -> list[Any]:
        found = [value[name]] if isinstance(value, dict) and name in value else []
        return found + [inner for item in _every(value) for inner in find(item)]

    return find


def _slice(text: str) -> Step:
    if text == "*":
        return _every
    if ":" not in text:
        at = int(text)
        return lambda value: _within(value, at, at + 1 if at != -1 else None, 1)
    first, last, step = (int(part) if part else None for part in [*text.split(":"), "", ""][:3])
    return lambda value: _within(value, first or 0, last, step or 1)


def _within(value: Any, first: int, last: int | None, step: int) -> list[Any]:
    """Return a part of a list, all of whose bounds are in it (client-go ``jsonpath.evalArray``)."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise _OutOfBounds
    size = len(value)
    start, end = first + size * (first < 0), size if last is None else last + size * (last < 0)
    if start == end:
        return []
    if not 0 <= start < size or not start <= end <= size or step < 0:
        raise _OutOfBounds
    return value[start:end:step]


def _filter(left: str, operator: str | None, right: str | None) -> Step:
    read = compile_path(left)
    compare, wanted = _OPERATORS[operator or "=="], _literal(right or "")

    def matches(item: Any) -> bool:
        found = read(item)
        if operator is None:
            return bool(found)
        try:
            return bool(found) and compare(found[0], wanted)
        except TypeError:
            return False

    return lambda value: [item for item in value if matches(item)] if isinstance(value, list) else []


def _literal(text: str) -> Any:
    if text[:1] in ("'", '"'):
        return _plain(text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text
