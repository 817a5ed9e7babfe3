"""Field errors: what validation returns, in Kubernetes' words (apimachinery ``util/validation/field``)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

OMIT = object()
"""Stands for a bad value that is not shown."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong: `reason` is a cause reason of the API (``FieldValueRequired`` …)."""

    reason: str
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"

    def cause(self) -> dict[str, str]:
        """Return the entry of ``status.details.causes``."""
        return {"reason": self.reason, "message": self.text, "field": self.field}


def show(value: Any) -> str:
    """Render a bad value as Kubernetes does: strings and null quoted as JSON, booleans and numbers bare."""
    if value is None:
        return "null"
    if isinstance(value, dict) and value.keys() == _SELECTOR:
        # What upstream has as a struct keeps its order; its members are sorted everywhere else.
        labels, expressions = value["matchLabels"], value["matchExpressions"]
        return f'{{"matchLabels":{_json(labels, ordered=True)},"matchExpressions":{_json(expressions, ordered=True)}}}'
    return _json(value, ordered=isinstance(value, dict))


_SELECTOR = {"matchLabels", "matchExpressions"}


def _json(value: Any, *, ordered: bool) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=ordered)


def _with(prefix: str, detail: str) -> str:
    return f"{prefix}: {detail}" if detail else prefix


def required(path: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", path, _with("Required value", detail))


def invalid(path: str, value: Any, detail: str) -> FieldError:
    text = "Invalid value" if value is OMIT else f"Invalid value: {show(value)}"
    return FieldError("FieldValueInvalid", path, _with(text, detail))


def type_invalid(path: str, value: Any, detail: str) -> FieldError:
    text = "Invalid value" if value is OMIT else f"Invalid value: {show(value)}"
    return FieldError("FieldValueTypeInvalid", path, _with(text, detail))


def not_supported(path: str, value: Any, valid: Iterable[str], *, ordered: bool = False) -> FieldError:
    """`ordered` keeps the order of `valid`, as the few rules of Kubernetes do that name a list and not a set."""
    values = ", ".join(json.dumps(v) for v in (valid if ordered else sorted(valid)))
    detail = f"supported values: {values}" if values else ""
    return FieldError("FieldValueNotSupported", path, _with(f"Unsupported value: {show(value)}", detail))


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", path, "Duplicate value" + ("" if value is OMIT else f": {show(value)}"))


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", path, _with("Forbidden", detail))


def not_found(path: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", path, f"Not found: {show(value)}")


def too_long(path: str, maximum: int) -> FieldError:
    unit = "byte" if maximum == 1 else "bytes"
    return FieldError("FieldValueTooLong", path, f"Too long: may not be more than {maximum} {unit}")


def too_many(path: str, actual: int, maximum: int) -> FieldError:
    unit = "item" if maximum == 1 else "items"
    return FieldError("FieldValueTooMany", path, f"Too many: {actual}: must have at most {maximum} {unit}")


def internal(path: str, detail: str) -> FieldError:
    return FieldError("InternalError", path, _with("Internal error", detail))
