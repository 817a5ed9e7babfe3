"""Label and field selectors of query strings (apimachinery ``labels.Parse`` and ``fields.ParseSelector``)."""

from collections.abc import Mapping
from typing import Any

from wherry.api.errors import BadRequest
from wherry.api.selectors import fields, labels

LabelSelector = tuple[labels.Requirement, ...]
FieldSelector = tuple[fields.Requirement, ...]


def parse_labels(text: str) -> LabelSelector:
    """Parse a label selector. Raises BadRequest in Kubernetes' words."""
    try:
        return labels.parse(text).requirements
    except labels.SelectorError as error:
        raise BadRequest(str(error)) from None


def parse_fields(text: str) -> FieldSelector:
    """Parse a field selector. Raises BadRequest in Kubernetes' words."""
    try:
        return fields.parse(text).requirements
    except fields.FieldSelectorError as error:
        raise BadRequest(str(error)) from None


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
