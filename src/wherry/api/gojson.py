"""The words of Go's JSON parser for text that is no JSON (``encoding/json``): clients are shown them."""

import re

_SPACE = " \t\r\n"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_ESCAPED = {
    "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip
_END = "unexpected end of JSON input"


class _SyntaxError(Exception):
    pass


def syntax_error(source: str | bytes) -> str | None:
    """Return what is wrong with a JSON text in Go's words; None when nothing is. Go reads and names single bytes."""
    text = (source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")).decode("latin-1")
    try:
        end = _skip(text, _value(text, _skip(text, 0), "looking for beginning of value"))
    except _SyntaxError as error:
        return str(error)
    except RecursionError:
        return "exceeded max depth"
    return None if end >= len(text) else str(_unexpected(text, end, "after top-level value"))


def _quote(char: str) -> str:
    if char == "'":
        return "'\\''"
    if char == '"':
        return "'\"'"
    if char.isprintable() and char != "\\":
        return f"'{char}'"
    code = ord(char)
    return f"'{_ESCAPED.get(char) or (chr(92) + (f'x{code:02x}' if code < 128 else f'u{code:04x}'))}'"


def _unexpected(text: str, at: int, context: str) -> _SyntaxError:
    if at >= len(text):
        return _SyntaxError(_END)
    return _SyntaxError(f"invalid character {_quote(text[at])} {context}")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _value(text: str, at: int, context: str) -> int:
    if at >= len(text):
        raise _SyntaxError(_END)
    char = text[at]
    if char == "{":
        return _object(text, at)
    if char == "[":
        return _array(text, at)
    if char == '"':
        return _string(text, at)
    if char in _LITERALS:
        return _literal(text, at, _LITERALS[char])
    if char == "-" or char in "0123456789":
        return _number(text, at)
    raise _unexpected(text, at, context)


def _literal(text: str, at: int, word: str) -> int:
    for i, expected in enumerate(word):
        if at + i >= len(text) or text[at + i] != expected:
            raise _unexpected(text, at + i, f"in literal {word} (expecting '{expected}')")
    return at + len(word)


def _number(text: str, at: int) -> int:
    found = _NUMBER.match(text, at)
    if found is None:
        raise _unexpected(text, at + 1, "in numeric literal")
    end = found.end()
    if end < len(text) and text[end] == ".":
        raise _unexpected(text, end + 1, "after decimal point in numeric literal")
    if end < len(text) and text[end] in "eE":
        raise _unexpected(text, end + 1, "in exponent of numeric literal")
    return end


def _string(text: str, at: int) -> int:
    at += 1
    while at < len(text):
        char = text[at]
        if char == '"':
            return at + 1
        if char < " ":
            raise _unexpected(text, at, "in string literal")
        if char == "\\":
            at += 1
            if at < len(text) and text[at] == "u":
                for i in range(1, 5):
                    if at + i >= len(text) or text[at + i] not in "0123456789abcdefABCDEF":
                        raise _unexpected(text, at + i, "in \\u hexadecimal character escape")
                at += 4
            elif at < len(text) and text[at] not in 'bfnrt\\/"':
                raise _unexpected(text, at, "in string escape code")
        at += 1
    raise _SyntaxError(_END)


def _object(text: str, at: int) -> int:
    at = _skip(text, at + 1)
    if at < len(text) and text[at] == "}":
        return at + 1
    while True:
        if at >= len(text) or text[at] != '"':
            raise _unexpected(text, at, "looking for beginning of object key string")
        at = _skip(text, _string(text, at))
        if at >= len(text) or text[at] != ":":
            raise _unexpected(text, at, "after object key")
        at = _skip(text, _value(text, _skip(text, at + 1), "looking for beginning of value"))
        if at < len(text) and text[at] == "}":
            return at + 1
        if at >= len(text) or text[at] != ",":
            raise _unexpected(text, at, "after object key:value pair")
        at = _skip(text, at + 1)


def _array(text: str, at: int) -> int:
    at = _skip(text, at + 1)
    if at < len(text) and text[at] == "]":
        return at + 1
    while True:
        at = _skip(text, _value(text, at, "looking for beginning of value"))
        if at < len(text) and text[at] == "]":
            return at + 1
        if at >= len(text) or text[at] != ",":
            raise _unexpected(text, at, "after array element")
        at = _skip(text, at + 1)
