"""Regular expressions in Go's syntax (RE2), as rules and schemas write them, on Python's engine."""

import re
from functools import lru_cache

from wherry.api.cel.values import EvalError

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_PIECE = re.compile(
    r"\[\[:(?P<not>\^?)(?P<only>[a-z]+):\]\]|\[:(?P<posix>[a-z]+):\]|\\(?P<letter>Q.*?(?:\\E|$)|p\{\^?\w+\}|P\{\^?\w+\}|[pP]\w|x\{[0-9a-fA-F]+\}|.)"
    r"|(?P<group>\(\?(?:P?<(?![=!])|P?=|P>|[=!>#(]|<[=!]|[a-zA-Z-]*[:)])?)|(?P<other>.)",
    re.DOTALL,
)
_UNICODE = {
    "L": "^\\W\\d_",
    "Lu": "A-ZÀ-ÖØ-Þ",
    "Ll": "a-zß-öø-ÿ",
    "N": "\\d",
    "Nd": "\\d",
    "Greek": "\u0370-\u03ff",
    "Han": "\u4e00-\u9fff",
    "Cyrillic": "\u0400-\u04ff",
}


class PatternError(ValueError):
    """The text is no pattern; the message is in the form of Go's compiler."""


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> "re.Pattern[str]":
    """Return the compiled pattern. Raises PatternError."""
    try:
        return re.compile(_translated(pattern), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(_explain(pattern, error)) from None


def compiled(pattern: str) -> "re.Pattern[str]":
    """Return the compiled pattern. Raises EvalError."""
    try:
        return compile_pattern(pattern)
    except PatternError as error:
        raise EvalError(str(error)) from None


def _explain(pattern: str, error: Exception) -> str:
    text = str(error)
    rest = pattern[error.pos :] if isinstance(error, re.error) and error.pos is not None else pattern
    if "missing ), unterminated" in text:
        return f"error parsing regexp: missing closing ): `{pattern}`"
    if "unbalanced parenthesis" in text:
        return f"error parsing regexp: unexpected ): `{pattern}`"
    if "unterminated character set" in text:
        return f"error parsing regexp: missing closing ]: `{rest}`"
    if "nothing to repeat" in text:
        return f"error parsing regexp: missing argument to repetition operator: `{rest[:1]}`"
    if "multiple repeat" in text:
        return f"error parsing regexp: invalid nested repetition operator: `{rest[:2]}`"
    if "bad character range" in text:
        return f"error parsing regexp: invalid character class range: `{text.split()[-4]}`"
    if "bad escape (end of pattern)" in text:
        return "error parsing regexp: trailing backslash at end of expression: ``"
    return f"error parsing regexp: invalid escape sequence: `{rest[:2]}`"


def _translated(pattern: str) -> str:
    """Return the pattern in Python's syntax; what only Python knows is refused."""
    out, inside = [], False
    for match in _PIECE.finditer(pattern):
        if match["only"] is not None:
            out.append(_posix(match["only"], negated=bool(match["not"]), inside=inside, text=match[0]))
        elif match["posix"] is not None:
            out.append(_posix(match["posix"], negated=False, inside=True, text=match[0]) if inside else match[0])
        elif match["letter"] is not None:
            out.append(_escape(match["letter"], inside=inside))
        elif match["group"] is not None and not inside:
            out.append(_group(match["group"], pattern, match.start()))
        else:
            char = match[0]
            if inside:
                inside = not (char == "]" and out[-1:] not in (["["], ["[^"]))
                if char == "^" and out[-1:] == ["["]:
                    out[-1] = "[^"
                    continue
                out.append("\\[" if char == "[" else "\\]" if char == "]" and inside else char)
            elif char == "[":
                inside = True
                out.append(char)
            elif char == "$":
                out.append(r"\Z")
            else:
                out.append(char)
    return "".join(out)


def _posix(name: str, *, negated: bool, inside: bool, text: str) -> str:
    if name not in _CLASSES:
        raise re.error(f"invalid character class range: {text}")
    if inside:
        return _CLASSES[name]
    return f"[{'^' if negated else ''}{_CLASSES[name]}]"


def _escape(letter: str, *, inside: bool) -> str:
    first = letter[0]
    if first == "Q":
        return re.escape(letter[1:].removesuffix("\\E"))
    if first in "pP":
        return _property(letter, inside=inside)
    if letter.startswith("x{"):
        return re.escape(chr(int(letter[2:-1], 16)))
    if letter == "z":
        return r"\Z"
    if letter == "C":
        return "."
    if letter in "Z123456789EGKNRUXu" or (letter.isalpha() and letter not in "aAbBdDfnrsStvwWxzC"):
        raise re.error("bad escape", letter)
    if letter in "sS":
        # Go's \s has no vertical tab.
        return r"\t\n\f\r " if inside and letter == "s" else r"[\t\n\f\r ]" if letter == "s" else r"[^\t\n\f\r ]"
    return "\\" + letter


def _property(letter: str, *, inside: bool) -> str:
    name = letter[1:].strip("{}")
    negated = (letter[0] == "P") != name.startswith("^")
    members = _UNICODE.get(name.lstrip("^"))
    if members is None:
        raise re.error("bad escape", letter)
    if members.startswith("^"):
        members, negated = members[1:], not negated
    if inside:
        return members
    return f"(?u:[{'^' if negated else ''}{members}])"


def _group(opening: str, pattern: str, at: int) -> str:
    kind = opening[2:]
    if kind in ("P<", "<"):
        return "(?P<"
    if kind in ("=", "!", "<=", "<!", "P=", "P>", ">", "#", "(") or (kind == "" and opening == "(?"):
        raise PatternError(
            f"error parsing regexp: invalid or unsupported Perl syntax: `{pattern[at : at + 2 + max(len(kind), 1)]}`"
        )
    flags = kind[:-1]
    if flags.strip("imsU-"):
        raise PatternError(f"error parsing regexp: invalid or unsupported Perl syntax: `{opening}`")
    flags = flags.replace("U", "")
    if kind.endswith(")"):
        return f"(?{flags})" if flags else ""
    return f"(?{flags}:"
