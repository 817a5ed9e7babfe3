"""Field selectors (apimachinery ``fields``): ``metadata.name=a,status.phase!=Running``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

_OPERATORS = ("!=", "==", "=")


class FieldSelectorError(ValueError):
    """The text is not a field selector; the message is Kubernetes'."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a field; `operator` is ``=`` or ``!=``."""

    field: str
    operator: str
    value: str

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Tell whether the values of an object's selectable fields meet it; a field that is not there is empty."""
        return (fields.get(self.field, "") == self.value) == (self.operator == "=")

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{escape(self.value)}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all be met."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Tell whether the values of an object's selectable fields meet all requirements."""
        return all(requirement.matches(fields) for requirement in self.requirements)

    def exact(self, field: str) -> str | None:
        """Return the value that `field` must have, None when any will do."""
        for requirement in self.requirements:
            if requirement.field == field and requirement.operator == "=":
                return requirement.value
        return None

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


def parse(text: str) -> Selector:
    """Parse the text of a field selector. Raises FieldSelectorError."""
    return _remembered(text) if len(text) <= _MAX_REMEMBERED else _parsed(text)


def _parsed(text: str) -> Selector:
    requirements = []
    for term in sorted(_terms(text)):
        if not term:
            continue
        found = _split(term)
        if found is None:
            raise FieldSelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        field, operator, value = found
        requirements.append(Requirement(field, "!=" if operator == "!=" else "=", unescape(value)))
    return Selector(tuple(requirements))


_remembered = lru_cache(maxsize=2048)(_parsed)
_MAX_REMEMBERED = 1024


def escape(value: str) -> str:
    r"""Return `value` with ``\``, ``,`` and ``=`` escaped."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def unescape(value: str) -> str:
    """Undo `escape`. Raises FieldSelectorError for another escape or a bare separator."""
    out = []
    at = 0
    while at < len(value):
        char = value[at]
        if char == "\\":
            at += 1
            if at == len(value):
                raise FieldSelectorError("invalid field selector: invalid escape sequence: \\")
            if value[at] not in "\\,=":
                raise FieldSelectorError(f"invalid field selector: invalid escape sequence: \\{value[at]}")
            char = value[at]
        elif char in ",=":
            raise FieldSelectorError(f"invalid field selector: unescaped character in value: {ord(char)}")
        out.append(char)
        at += 1
    return "".join(out)


def _terms(text: str) -> list[str]:
    terms, current, escaped = [], "", False
    for char in text:
        if char == "," and not escaped:
            terms.append(current)
            current = ""
        else:
            current += char
        escaped = char == "\\" and not escaped
    return [*terms, current] if text else []


def _split(term: str) -> tuple[str, str, str] | None:
    for at in range(len(term)):
        for operator in _OPERATORS:
            if term.startswith(operator, at):
                return term[:at], operator, term[at + len(operator) :]
    return None
