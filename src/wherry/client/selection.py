"""Label and field selectors of query parameters, decided on the client's side."""

import re
from collections.abc import Callable
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}

Selects = Callable[[Object], bool]

_REQUIREMENT = re.compile(
    r"\s*(?:(?P<no>!)\s*(?P<absent>[^\s!=,()]+)"
    r"|(?P<key>[^\s!=,()]+)(?:\s*(?P<op>==|=|!=)\s*(?P<value>[^\s,()]*)"
    r"|\s+(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*(?:,|$)"
)


def matcher(label_selector: str = "", field_selector: str = "") -> Selects:
    """Return a function that tells whether an object is selected; empty selectors select all.

    Raises ValueError for a selector that cannot be parsed. A field that an object does not have counts as empty.
    """
    labels, fields = _requirements(label_selector), _requirements(field_selector)
    return lambda obj: all(_label(meta.labels(obj), *r) for r in labels) and all(_field(obj, *r) for r in fields)


def label_selector(selector: Object | None) -> Callable[[dict[str, str]], bool]:
    """Return a function that tells whether labels match a LabelSelector object.

    None matches nothing and an empty selector everything, as ``metav1.LabelSelectorAsSelector`` has it. Raises
    ValueError for an unknown operator.
    """
    if selector is None:
        return lambda labels: False
    equal = tuple((selector.get("matchLabels") or {}).items())
    requirements = []
    for expression in selector.get("matchExpressions") or ():
        operator = _OPERATORS.get(expression["operator"])
        if operator is None:
            raise ValueError(f'"{expression["operator"]}" is not a valid label selector operator')
        requirements.append((expression["key"], operator, frozenset(expression.get("values") or ())))
    return lambda labels: (
        all(labels.get(key) == value for key, value in equal)
        and all(_label(labels, *requirement) for requirement in requirements)
    )


def _requirements(selector: str) -> list[tuple[str, str, frozenset[str]]]:
    found, at = [], 0
    while at < len(selector):
        match = _REQUIREMENT.match(selector, at)
        if match is None:
            raise ValueError(f"cannot parse selector {selector!r}")
        at = match.end()
        if match["no"]:
            found.append((match["absent"], "absent", frozenset[str]()))
        elif match["set"]:
            values = frozenset(value.strip() for value in match["values"].split(","))
            found.append((match["key"], match["set"], values))
        elif match["op"]:
            found.append((match["key"], "notin" if match["op"] == "!=" else "in", frozenset({match["value"]})))
        else:
            found.append((match["key"], "exists", frozenset[str]()))
    return found


def _label(labels: dict[str, str], key: str, operator: str, values: frozenset[str]) -> bool:
    if operator == "in":
        return key in labels and labels[key] in values
    if operator == "notin":
        return key not in labels or labels[key] not in values
    return (key in labels) == (operator == "exists")


def _field(obj: Object, path: str, operator: str, values: frozenset[str]) -> bool:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return (text in values) == (operator == "in")
