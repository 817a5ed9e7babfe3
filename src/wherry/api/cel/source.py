"""The text of an expression, and what is wrong with it at which place."""

import re
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong, at an offset into the text."""

    at: int
    text: str


class CompileError(ValueError):
    """An expression that cannot be compiled; the message is in the form of the CEL library that Kubernetes uses::

    ERROR: <input>:1:5: undefined field 'x'
     | self.x
     | ....^
    """

    def __init__(self, text: str, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(_render(text, problem) for problem in problems))

    @property
    def told(self) -> str:
        """What Kubernetes' answers say of it."""
        return f"compilation failed: {self}"


class InstantiationError(CompileError):
    """An expression that is sound and still makes no program: a conversion of a literal fails."""

    def __init__(self, reason: str) -> None:
        super().__init__("", [Problem(0, reason)])
        self.args = (reason,)

    @property
    def told(self) -> str:
        return f"program instantiation failed: {self}"


def _render(text: str, problem: Problem) -> str:
    before = text[: problem.at]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1)
    shown = text.split("\n")[line - 1].replace("\t", " ")
    return f"ERROR: <input>:{line}:{column + 1}: {problem.text}\n | {shown}\n | {'.' * column}^"


class Token(NamedTuple):
    """A token: `kind` is ident, int, uint, double, string, bytes, end, or the text of an operator or keyword."""

    kind: str
    value: Any
    at: int


_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n\f]+|//[^\n]*)+)
    |(?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''
        |"(?:[^"\\\n\r]|\\.)*"|'(?:[^'\\\n\r]|\\.)*'))
    |(?P<raw>[rR](?:"[^"\n\r]*"|'[^'\n\r]*'))
    |(?P<double>[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+(?:[eE][-+]?[0-9]+)?)
    |(?P<int>0x[0-9a-fA-F]+|[0-9]+)(?P<unsigned>[uU])?
    |(?P<ident>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<operator>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
_RAW = re.compile(r"(?:[rR][bB]?|[bB][rR])(?:\"\"\".*?\"\"\"|'''.*?'''|\"[^\"\n\r]*\"|'[^'\n\r]*')", re.DOTALL)
_WORDS = {"true": True, "false": False, "null": None}
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|X(?P<X>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<o>[0-3][0-7]{2})"
    r"|(?P<c>[abfnrtv\\'\"`?])|(?P<bad>.))",
    re.DOTALL,
)


def tokenize(text: str) -> list[Token]:
    """Return the tokens of an expression, ``end`` last. Raises CompileError."""
    tokens, at = [], 0
    while at < len(text):
        raw = _RAW.match(text, at) if text[at] in "rRbB" else None
        match = _TOKEN.match(text, at)
        if raw is not None:
            tokens.append(_string(text, raw[0], at))
            at = raw.end()
            continue
        if match is None:
            raise CompileError(text, [Problem(at, f"Syntax error: token recognition error at: '{text[at]}'")])
        kind = match.lastgroup if match.lastgroup != "unsigned" else "int"
        if kind != "space":
            tokens.append(_token(text, match, str(kind), at))
        at = match.end()
    tokens.append(Token("end", None, len(text)))
    return tokens


def _token(text: str, match: "re.Match[str]", kind: str, at: int) -> Token:
    found = match[0]
    match kind:
        case "string":
            return _string(text, found, at)
        case "double":
            return Token("double", float(found), at)
        case "int":
            digits = found.rstrip("uU") if match["unsigned"] else found
            value = int(digits, 16) if digits[:2] == "0x" else int(digits)
            return Token("uint" if match["unsigned"] else "int", value, at)
        case "ident":
            if found in _WORDS:
                return Token("literal", _WORDS[found], at)
            return Token("in", "in", at) if found == "in" else Token("ident", found, at)
    return Token(found, found, at)


def _string(text: str, found: str, at: int) -> Token:
    head = re.match("[rRbB]*", found)
    prefix = head[0].lower() if head else ""
    body = found[len(prefix) :]
    width = 3 if body[:3] in ('"""', "'''") else 1
    inner = body[width:-width]
    if "b" in prefix:
        return Token("bytes", inner.encode() if "r" in prefix else _bytes(text, inner, at), at)
    return Token("string", inner if "r" in prefix else _ESCAPE.sub(lambda m: _escaped(text, m, at), inner), at)


def _escaped(text: str, match: "re.Match[str]", at: int) -> str:
    if match["c"]:
        return _SIMPLE.get(match["c"], match["c"])
    if match["bad"]:
        raise CompileError(text, [Problem(at, f"Syntax error: invalid escape sequence '{match[0]}'")])
    code = int(match["o"], 8) if match["o"] else int(match["x"] or match["X"] or match["u"] or match["U"], 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise CompileError(text, [Problem(at, "Syntax error: invalid unicode code point")])
    return chr(code)


def _bytes(text: str, inner: str, at: int) -> bytes:
    out, last = bytearray(), 0
    for match in _ESCAPE.finditer(inner):
        out += inner[last : match.start()].encode()
        last = match.end()
        octet = match["o"] or match["x"] or match["X"]
        out += bytes([int(octet, 8 if match["o"] else 16)]) if octet else _escaped(text, match, at).encode()
    return bytes(out + inner[last:].encode())
