"""Label and field selectors of query strings (apimachinery ``labels.Parse`` and ``fields.ParseSelector``)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from wherry.api.errors import BadRequest
from wherry.api.selectors import labels

LabelSelector = tuple[labels.Requirement, ...]


def parse_labels(text: str) -> LabelSelector:
    """Parse a label selector. Raises BadRequest in Kubernetes' words."""
    try:
        return labels.parse(text).requirements
    except labels.SelectorError as error:
        raise BadRequest(str(error)) from None


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on a field: `equal` or not equal to `value`."""

    field: str
    equal: bool
    value: str


FieldSelector = tuple[FieldTerm, ...]


def fields_match(selector: FieldSelector, value_of: Callable[[str], str]) -> bool:
    """Tell whether the fields meet every term."""
    return all((value_of(term.field) == term.value) is term.equal for term in selector)


@lru_cache(maxsize=4096)
def parse_fields(text: str) -> FieldSelector:
    """Parse a field selector. Raises BadRequest in Kubernetes' words."""
    terms = []
    for part in sorted(_split_terms(text)):
        if not part:
            continue
        found = _operator_at(part)
        if found is None:
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{part}'")
        at, operator = found
        value = _unescape(part[at + len(operator) :])
        terms.append(FieldTerm(part[:at], operator != "!=", value))
    return tuple(terms)


def _split_terms(text: str) -> list[str]:
    parts, start, escaped = [], 0, False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def _operator_at(part: str) -> tuple[int, str] | None:
    for index in range(len(part)):
        for operator in ("!=", "==", "="):
            if part.startswith(operator, index):
                return index, operator
    return None


def _unescape(text: str) -> str:
    out, escaped = [], False
    for char in text:
        if escaped:
            if char not in "\\,=":
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{char}")
            out.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            out.append(char)
    if escaped:
        raise BadRequest("invalid field selector: invalid escape sequence: \\")
    return "".join(out)


def selector_text(selector: Mapping[str, Any]) -> str:
    """Return a label selector object in the form of a query, as ``status.selector`` of a Scale shows it."""
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression["key"], ",".join(sorted(expression.get("values") or ()))
        match expression["operator"]:
            case "In":
                parts.append((key, f"{key} in ({values})"))
            case "NotIn":
                parts.append((key, f"{key} notin ({values})"))
            case "Exists":
                parts.append((key, key))
            case _:
                parts.append((key, f"!{key}"))
    return ",".join(text for _, text in sorted(parts))
