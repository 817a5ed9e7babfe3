"""Which fields a field selector may name, in the words of each kind's refusal."""

from collections.abc import Callable
from typing import Any

from wherry.api import strategy
from wherry.api.errors import BadRequest
from wherry.api.resources import Resource
from wherry.apiserver.selectors import FieldSelector

Object = dict[str, Any]
Getter = Callable[[Object], str]

_COMMON = {"metadata.name", "metadata.namespace"}


def getters(resource: Resource, selector: FieldSelector) -> dict[str, Getter]:
    """Return a reader for each field of `selector`. Raises BadRequest for a field that cannot be selected by."""
    known = strategy.selectable_fields(resource)
    out: dict[str, Getter] = {}
    for term in selector:
        getter = known.get(term.field)
        if getter is None:
            # A kind with selectable fields of its own converts labels by itself and words its refusal otherwise.
            own = known.keys() - _COMMON or resource.custom is not None
            raise BadRequest(
                f"field label not supported: {term.field}"
                if own
                else f'"{term.field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            )
        out[term.field] = getter
    return out


class Selection:
    """Label and field selectors of one request, ready to be asked about objects."""

    __slots__ = ("empty", "fields", "getters", "labels")

    def __init__(self, resource: Resource, labels: tuple[Any, ...], fields: FieldSelector) -> None:
        self.labels = labels
        self.fields = fields
        self.getters = getters(resource, fields)
        self.empty = not labels and not fields

    def matches(self, obj: Object) -> bool:
        """Tell whether `obj` is selected."""
        if self.labels:
            found = obj["metadata"].get("labels") or {}
            for requirement in self.labels:
                if not requirement.matches(found):
                    return False
        return all((self.getters[term.field](obj) == term.value) is (term.operator == "=") for term in self.fields)

    def single_name(self) -> str | None:
        """Return the name when the selection asks for one ``metadata.name``."""
        for term in self.fields:
            if term.field == "metadata.name" and term.operator == "=":
                return term.value
        return None
