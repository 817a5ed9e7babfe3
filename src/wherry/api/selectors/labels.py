"""Label selectors (apimachinery ``labels``)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from wherry.api import names
from wherry.api.field import FieldError, forbidden, invalid, required

_TOKEN = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!<>(),])|([^ \t\r\n=!<>(),]+))")
_WORDS = {"in": "in", "notin": "notin"}
_SYMBOLS = {"=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt"}
_OF_EXPRESSION = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


class SelectorError(ValueError):
    """The text or object is not a selector; the message is Kubernetes'."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label; `operator` is one of = == != in notin exists ! gt lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether `labels` meet it."""
        value = labels.get(self.key)
        match self.operator:
            case "in" | "=" | "==":
                return value is not None and value in self.values
            case "notin" | "!=":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        number, bound = _int64(value), _int64(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == "gt" else number < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
        return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all be met; `nothing` matches no object."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether `labels` meet all requirements."""
        if self.nothing:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    @property
    def is_everything(self) -> bool:
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def parse(text: str) -> Selector:
    """Parse the text of a selector; the requirements are sorted by key. Raises SelectorError."""
    return _remembered(text) if len(text) <= _MAX_REMEMBERED else _parsed(text)


def _parsed(text: str) -> Selector:
    requirements = _Parser(text).parse()
    return Selector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


_remembered = lru_cache(maxsize=2048)(_parsed)
_MAX_REMEMBERED = 1024


def from_set(labels: Mapping[str, str] | None) -> Selector:
    """Return the selector of a map of labels (``spec.selector`` of a Service); an empty one matches everything."""
    return Selector(tuple(Requirement(key, "=", (value,)) for key, value in sorted((labels or {}).items())))


def from_selector(selector: Mapping[str, Any] | None) -> Selector:
    """Return the selector of a LabelSelector object: None matches nothing, an empty one everything.

    Raises SelectorError for an operator or a number of values that the API does not know.
    """
    if selector is None:
        return NOTHING
    requirements = [Requirement(key, "in", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OF_EXPRESSION.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        requirements.append(_checked(expression.get("key", ""), operator, tuple(expression.get("values") or ())))
    return Selector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def matches_object(selector: Selector, obj: Mapping[str, Any]) -> bool:
    """Tell whether an object's labels meet `selector`."""
    return selector.matches(obj["metadata"].get("labels") or {})


def _int64(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None


def _checked(key: str, operator: str, values: Iterable[str]) -> Requirement:
    """Check one requirement (``labels.NewRequirement``); several errors are shown in brackets."""
    found = tuple(values)
    errors = []
    problems = names.is_qualified_name(key)
    if problems:
        errors.append(invalid("<nil>", key, "; ".join(problems)))
    match operator:
        case "in" | "notin" if not found:
            errors.append(invalid("values", None, "for 'in', 'notin' operators, values set can't be empty"))
        case "=" | "==" | "!=" if len(found) != 1:
            errors.append(invalid("values", list(found), "exact-match compatibility requires one single value"))
        case "exists" | "!" if found:
            errors.append(invalid("values", list(found), "values set must be empty for exists and does not exist"))
        case "gt" | "lt":
            if len(found) != 1:
                errors.append(invalid("values", list(found), "for 'Gt', 'Lt' operators, exactly one value is required"))
            errors += [
                invalid(f"values[{at}]", value, "for 'Gt', 'Lt' operators, the value must be an integer")
                for at, value in enumerate(found)
                if _int64(value) is None
            ]
    for at, value in enumerate(found):
        problems = names.is_label_value(value)
        if problems:
            errors.append(invalid(f"values[{at}][{key}]", value, "; ".join(problems)))
    if errors:
        texts = list(dict.fromkeys(str(error) for error in errors))
        raise SelectorError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    return Requirement(key, operator, tuple(sorted(set(found))))


class _Parser:
    """The grammar of selectors. A token is (kind, text); the kind of a word is "identifier" or the keyword."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        for match in _TOKEN.finditer(text):
            symbol, word = match.groups()
            self._tokens.append((symbol, symbol) if symbol else (_WORDS.get(word, "identifier"), word))
        self._at = 0

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            kind, text = self._peek(values=True)
            if kind in ("identifier", "!"):
                requirements.append(self._requirement())
                kind, text = self._next(values=True)
                if kind == "":
                    return requirements
                if kind != ",":
                    raise SelectorError(f"found '{text}', expected: ',' or 'end of string'")
                kind, text = self._peek(values=True)
                if kind not in ("identifier", "!"):
                    raise SelectorError(f"found '{text}', expected: identifier after ','")
            elif kind == "":
                return requirements
            else:
                raise SelectorError(f"found '{text}', expected: !, identifier, or 'end of string'")

    def _requirement(self) -> Requirement:
        try:
            return self._one()
        except SelectorError as error:
            raise SelectorError(f"unable to parse requirement: {error}") from None

    def _one(self) -> Requirement:
        kind, text = self._next(values=True)
        operator = ""
        if kind == "!":
            operator = "!"
            kind, text = self._next(values=True)
        if kind != "identifier":
            raise SelectorError(f"found '{text}', expected: identifier")
        problems = names.is_qualified_name(text)
        if problems:
            raise SelectorError(str(invalid("<nil>", text, "; ".join(problems))))
        key = text
        if self._peek(values=True)[0] in ("", ","):
            return _checked(key, operator or "exists", ())
        if operator:
            return _checked(key, operator, ())
        kind, text = self._next()
        if kind in _WORDS:
            return _checked(key, kind, self._values())
        if kind not in _SYMBOLS:
            raise SelectorError(f"found '{text}', expected: in, notin, =, ==, !=, gt, lt")
        return _checked(key, _SYMBOLS[kind], (self._exact(),))

    def _values(self) -> list[str]:
        kind, text = self._next(values=True)
        if kind != "(":
            raise SelectorError(f"found '{text}' expected: '('")
        kind, text = self._peek(values=True)
        if kind == ")":
            self._next()
            return [""]
        if kind not in ("identifier", ","):
            raise SelectorError(f"found '{text}', expected: ',', ')' or identifier")
        found = self._identifiers()
        kind, text = self._next()
        if kind != ")":
            raise SelectorError(f"found '{text}', expected: ')'")
        return found

    def _identifiers(self) -> list[str]:
        found: set[str] = set()
        while True:
            kind, text = self._next(values=True)
            if kind == "identifier":
                found.add(text)
                after, text = self._peek()
                if after == ",":
                    continue
                if after == ")":
                    return sorted(found)
                raise SelectorError(f"found '{text}', expected: ',' or ')'")
            if kind == ",":
                if not found:
                    found.add("")
                after, _ = self._peek()
                if after == ")":
                    found.add("")
                    return sorted(found)
                if after == ",":
                    self._next()
                    found.add("")
            else:
                raise SelectorError(f"found '{text}', expected: ',', or identifier")

    def _exact(self) -> str:
        if self._peek(values=True)[0] in ("", ","):
            return ""
        kind, text = self._next(values=True)
        if kind == "identifier":
            return text
        raise SelectorError(f"found '{text}', expected: identifier")

    def _peek(self, *, values: bool = False) -> tuple[str, str]:
        """Return the next token; in the context of values the keywords are plain words."""
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        return ("identifier" if values and kind in _WORDS else kind), text

    def _next(self, *, values: bool = False) -> tuple[str, str]:
        token = self._peek(values=values)
        self._at += 1
        return token


def requirement_errors(selector: Mapping[str, Any], path: str) -> list[FieldError]:
    """Return the field errors of a LabelSelector object's expressions and labels (``ValidateLabelSelector``)."""
    errors = []
    for key, value in (selector.get("matchLabels") or {}).items():
        errors += [invalid(f"{path}.matchLabels", key, problem) for problem in names.is_qualified_name(key)]
        errors += [invalid(f"{path}.matchLabels", value, problem) for problem in names.is_label_value(value)]
    for at, expression in enumerate(selector.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{at}]"
        operator, values = expression.get("operator", ""), expression.get("values") or []
        match operator:
            case "In" | "NotIn" if not values:
                errors.append(required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
            case "Exists" | "DoesNotExist" if values:
                errors.append(
                    forbidden(f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
                )
            case "In" | "NotIn" | "Exists" | "DoesNotExist":
                pass
            case _:
                errors.append(invalid(f"{where}.operator", operator, "not a valid selector operator"))
        key = expression.get("key", "")
        errors += [invalid(f"{where}.key", key, problem) for problem in names.is_qualified_name(key)]
        errors += [
            invalid(f"{where}.values[{index}]", value, problem)
            for index, value in enumerate(values)
            for problem in names.is_label_value(value)
        ]
    return errors
