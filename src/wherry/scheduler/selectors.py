"""Label selectors and node selectors, compiled once to be matched often."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

Labels = Mapping[str, str]


class Requirement:
    """One requirement of a selector: key, operator and values."""

    __slots__ = ("key", "number", "operator", "values")

    def __init__(self, key: str, operator: str, values: frozenset[str]) -> None:
        self.key, self.operator, self.values = key, operator, values
        self.number = _integer(next(iter(values), "")) if operator in ("Gt", "Lt") else None

    def matches(self, labels: Labels) -> bool:
        """Tell whether labels meet it; NotIn and DoesNotExist are met by an absent label."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        found = _integer(value or "")
        if found is None or self.number is None:
            return False
        return found > self.number if self.operator == "Gt" else found < self.number


class LabelSelector:
    """A compiled ``metav1.LabelSelector``; an absent one (None) matches nothing, an empty one everything."""

    __slots__ = ("key", "nothing", "requirements", "term")

    def __init__(self, selector: Mapping[str, Any] | None) -> None:
        self.key = orjson.dumps(selector, option=orjson.OPT_SORT_KEYS)
        self.nothing = selector is None
        selector = selector or {}
        pairs = (selector.get("matchLabels") or {}).items()
        self.requirements = [Requirement(key, "In", frozenset((value,))) for key, value in pairs]
        self.requirements += _requirements(selector.get("matchExpressions"))
        # One label that all that is selected has, to find selectors by; the last in order is the most particular
        # often: ``pod-template-hash`` comes after ``app``.
        self.term: tuple[str, str] | None = max(pairs, default=None)

    def matches(self, labels: Labels) -> bool:
        """Tell whether an object's labels are selected."""
        return not self.nothing and all(requirement.matches(labels) for requirement in self.requirements)


class NodeSelectorTerm:
    """A compiled ``v1.NodeSelectorTerm``; one without requirements matches nothing."""

    __slots__ = ("fields", "labels")

    def __init__(self, term: Mapping[str, Any]) -> None:
        self.labels = _requirements(term.get("matchExpressions"))
        self.fields = _requirements(term.get("matchFields"))

    def matches(self, name: str, labels: Labels) -> bool:
        """Tell whether a node of this name and labels is selected."""
        if not self.labels and not self.fields:
            return False
        fields = {"metadata.name": name}
        return all(r.matches(labels) for r in self.labels) and all(r.matches(fields) for r in self.fields)

    def names(self) -> frozenset[str] | None:
        """Return the only node names that can match, None when any can."""
        named = [r.values for r in self.fields if r.key == "metadata.name" and r.operator == "In"]
        return frozenset.intersection(*named) if named else None


def _requirements(expressions: list[dict[str, Any]] | None) -> list[Requirement]:
    return [Requirement(e["key"], e["operator"], frozenset(e.get("values") or ())) for e in expressions or ()]


@lru_cache(maxsize=4096)
def _compiled(encoded: bytes) -> LabelSelector:
    return LabelSelector(orjson.loads(encoded))


def label_selector(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Return the compiled form of a ``metav1.LabelSelector``; equal ones are the same object."""
    return _compiled(orjson.dumps(selector, option=orjson.OPT_SORT_KEYS))


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
