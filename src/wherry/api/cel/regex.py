"""Regular expressions in Go's syntax, as rules and schemas write them, on RE2: linear in the text whatever the pattern.

Python's own engine tries all ways, so that a short pattern of somebody's schema could hold up everybody (ADR 9).
"""

from collections.abc import Iterator
from functools import lru_cache

import re2

from wherry.api.cel.values import EvalError

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OF_RE2 = {
    "missing )": "missing closing )",
    "unexpected )": "unexpected )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "invalid repetition size": "invalid repeat count",
}
"""Where Go's compiler has other words than RE2; they share a maker."""


class PatternError(ValueError):
    """The text is no pattern; the message is in the form of Go's compiler."""


class Pattern:
    """A compiled pattern; what it finds need not begin where the text does."""

    __slots__ = ("_compiled",)

    def __init__(self, pattern: str) -> None:
        try:
            self._compiled = re2.compile(pattern.encode("utf-8", "replace"), options=_OPTIONS)
        except re2.error as error:
            raise PatternError(_explained(error)) from None

    def is_in(self, text: str) -> bool:
        """Tell whether the pattern is found in `text`."""
        return self._compiled.search(text.encode("utf-8", "replace")) is not None

    def find(self, text: str) -> Iterator[str]:
        """Return the parts of `text` that the pattern finds, one after the other."""
        for match in self._compiled.finditer(text.encode("utf-8", "replace")):
            yield match[0].decode("utf-8", "replace")


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Pattern:
    """Return the compiled pattern. Raises PatternError."""
    return Pattern(pattern)


def compiled(pattern: str) -> Pattern:
    """Return the compiled pattern. Raises EvalError."""
    try:
        return compile_pattern(pattern)
    except PatternError as error:
        raise EvalError(str(error)) from None


def _explained(error: Exception) -> str:
    [text] = error.args
    told = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    what, _, where = told.partition(": ")
    if what.startswith("trailing"):
        return "error parsing regexp: trailing backslash at end of expression: ``"
    if what.startswith("pattern too large"):
        return "error parsing regexp: expression too large"
    return f"error parsing regexp: {_OF_RE2.get(what, what)}: `{where}`"
