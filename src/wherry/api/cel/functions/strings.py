"""The string library and the regular expressions of Kubernetes' ``find``."""

import json
from itertools import islice
from typing import Any

from wherry.api.cel.functions import add, function
from wherry.api.cel.regex import compiled
from wherry.api.cel.values import EvalError

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
    if not part:
        return start
    if start < 0:
        raise EvalError(f"index out of range: {start}")
    return text.find(part, start)


@function("string:lastIndexOf(string) -> int", "string:lastIndexOf(string, int) -> int", traversal=(0,))
def last_index_of(text: str, part: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(part)
    if not part:
        return start
    if start < 0:
        raise EvalError(f"index out of range: {start}")
    return text.rfind(part, 0, start + len(part)) if start < len(text) else -1


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
