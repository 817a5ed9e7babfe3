"""Label and field selectors of query strings (apimachinery ``labels.Parse`` and ``fields.ParseSelector``)."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from wherry.api.errors import BadRequest

_TOKEN = re.compile(r"[ \t\r\n]*(?:(!=|==|[=!<>(),])|([^ \t\r\n=!<>(),]+))")
_SPECIAL = {"in": "in", "notin": "notin"}
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_SUBDOMAIN_RULE = (
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label: `operator` is =, ==, !=, in, notin, exists, !, gt or lt."""

    key: str
    operator: str
    values: frozenset[str]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether `labels` meet it."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        try:
            if value is None:
                return False
            bound = int(next(iter(self.values)))
            return int(value) > bound if self.operator == "gt" else int(value) < bound
        except ValueError:
            return False


LabelSelector = tuple[Requirement, ...]


@lru_cache(maxsize=4096)
def parse_labels(text: str) -> LabelSelector:
    """Parse a label selector. Raises BadRequest in Kubernetes' words."""
    return _LabelParser(text).parse()


def labels_match(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether `labels` meet every requirement."""
    return all(requirement.matches(labels) for requirement in selector)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while match := _TOKEN.match(text, at):
        at = match.end()
        symbol, word = match.groups()
        if symbol:
            yield symbol, symbol
        else:
            yield _SPECIAL.get(word, "identifier"), word
    while True:
        yield "end", ""


class _LabelParser:
    """Recursive descent over tokens; what a keyword is depends on where it stands, so lookahead takes a context."""

    def __init__(self, text: str) -> None:
        self._source = _tokens(text)
        self._next = next(self._source)

    def _take(self) -> tuple[str, str]:
        token = self._next
        self._next = next(self._source)
        return token

    def _peek_kind(self, *, values: bool) -> str:
        kind = self._next[0]
        return "identifier" if values and kind in ("in", "notin") else kind

    def parse(self) -> LabelSelector:
        requirements: list[Requirement] = []
        while True:
            kind = self._peek_kind(values=True)
            if kind == "end":
                return tuple(sorted(requirements, key=lambda r: r.key))
            if kind not in ("identifier", "!"):
                raise BadRequest(f"found '{self._next[1]}', expected: !, identifier, or 'end of string'")
            requirements.append(self._requirement())
            kind, word = self._take()
            if kind == "end":
                return tuple(sorted(requirements, key=lambda r: r.key))
            if kind != ",":
                raise BadRequest(f"found '{word}', expected: ',' or 'end of string'")
            if self._peek_kind(values=True) not in ("identifier", "!"):
                raise BadRequest(f"found '{self._next[1]}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        try:
            negated = self._next[0] == "!"
            if negated:
                self._take()
            word = self._take()
            if word[0] not in ("identifier", "in", "notin"):
                raise ValueError(f"found '{word[1]}', expected: identifier")
            key = word[1]
            _check_key(key)
            if negated:
                return Requirement(key, "!", frozenset())
            if self._next[0] in ("end", ","):
                return Requirement(key, "exists", frozenset())
            operator = self._operator()
            values = self._values() if operator in ("in", "notin") else self._exact()
            return _checked(Requirement(key, operator, values))
        except ValueError as error:
            raise BadRequest(f"unable to parse requirement: {error}") from None

    def _operator(self) -> str:
        kind, word = self._take()
        match kind:
            case "in" | "notin" | "=" | "==" | "!=":
                return kind
            case "<":
                return "lt"
            case ">":
                return "gt"
        raise ValueError(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")

    def _values(self) -> frozenset[str]:
        kind, word = self._take()
        if kind != "(":
            raise ValueError(f"found '{word}' expected: '('")
        values: set[str] = set()
        kind = self._peek_kind(values=True)
        if kind not in ("identifier", ",", ")"):
            raise ValueError(f"found '{self._next[1]}', expected: ',', ')' or identifier")
        if kind == ")":
            self._take()
            return frozenset({""})
        last = ","
        while True:
            kind = self._peek_kind(values=True)
            if kind == "identifier":
                values.add(self._take()[1])
                last = "identifier"
                if self._next[0] not in (",", ")"):
                    raise ValueError(f"found '{self._next[1]}', expected: ',' or ')'")
            elif kind == ",":
                if last == ",":
                    values.add("")
                self._take()
                last = ","
            elif kind == ")":
                if last == ",":
                    values.add("")
                self._take()
                return frozenset(values)
            else:
                raise ValueError(f"found '{self._next[1]}', expected: ',', or identifier")

    def _exact(self) -> frozenset[str]:
        kind = self._peek_kind(values=True)
        if kind in ("end", ","):
            return frozenset({""})
        if kind == "identifier":
            return frozenset({self._take()[1]})
        raise ValueError(f"found '{self._next[1]}', expected: identifier")


def _check_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    problems: list[str] = []
    if slash and "/" in prefix:
        problems.append(
            "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
            "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        )
    else:
        if slash and not prefix:
            problems.append("prefix part must be non-empty")
        elif slash and len(prefix) > 253:
            problems.append("prefix part must be no more than 253 bytes")
        elif slash and not _SUBDOMAIN.fullmatch(prefix):
            problems.append(_SUBDOMAIN_RULE)
        if not name:
            problems.append("name part must be non-empty")
        elif len(name) > 63:
            problems.append("name part must be no more than 63 bytes")
        if not _NAME.fullmatch(name):
            problems.append(_NAME_RULE)
    if problems:
        raise ValueError(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')


def _checked(requirement: Requirement) -> Requirement:
    if requirement.operator in ("gt", "lt"):
        value = next(iter(requirement.values))
        if not re.fullmatch(r"[+-]?[0-9]+", value):
            raise ValueError(
                f'values[0][{requirement.key}]: Invalid value: "{value}": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
    for index, value in enumerate(sorted(requirement.values)):
        if len(value) > 63:
            raise ValueError(
                f'values[{index}][{requirement.key}]: Invalid value: "{value}": must be no more than 63 bytes'
            )
        if not _VALUE.fullmatch(value):
            raise ValueError(f'values[{index}][{requirement.key}]: Invalid value: "{value}": {_VALUE_RULE}')
    return requirement


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
    for part in _split_terms(text):
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
