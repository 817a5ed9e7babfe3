"""The type schema of a custom resource: how its objects are decoded and who owns which of their fields."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wherry.api.field import FieldError
from wherry.api.meta import Object
from wherry.api.schema import Conformed, TypeSchema, from_openapi
from wherry.api.structural.lists import malformed
from wherry.api.structural.metadata import conform_metadata
from wherry.api.structural.prune import Pruner, pruner


@dataclass(eq=False)
class CustomSchema(TypeSchema):
    """Unlike that of a built-in kind it lets wrong types through: whether values fit is for validation."""

    _prune: Pruner | None = field(default=None, kw_only=True)
    _malformed: Callable[[Object], tuple[list[str], FieldError | None]] | None = field(default=None, kw_only=True)

    def conform(self, obj: Object) -> Conformed:
        """Return `obj` without what the schema does not name, its metadata in form, whole numbers as integers."""
        out = whole_numbers(obj)
        unknown: list[str] = []
        if "metadata" in out:
            conformed, unknown, error = conform_metadata(out["metadata"])
            if error is not None:
                return Conformed({}, unknown, error)
            out = {**out, "metadata": conformed}
        embedded, wrong = self._malformed(out) if self._malformed is not None else ([], None)
        if self._prune is not None:
            dropped: list[str] = []
            out = self._prune(out, None, dropped)
            unknown = [*unknown, *sorted(dropped)]
        unknown = [*unknown, *embedded]
        if wrong is not None:
            return Conformed({}, unknown, str(wrong))
        return Conformed(dict(out), unknown, None)


def custom_schema(openapi: dict[str, Any], *, api_version: str, kind: str, preserve_unknown: bool) -> CustomSchema:
    """Return the type schema of one version of a custom resource."""
    plain = from_openapi(openapi, api_version=api_version, kind=kind, preserve_unknown=preserve_unknown)
    prune = None if preserve_unknown else pruner(openapi, root=True)
    return CustomSchema(api_version, kind, plain.root, structural=openapi, _prune=prune, _malformed=malformed(openapi))


def whole_numbers(value: Any) -> Any:
    """Return `value` with floats that are whole as integers, as Go shows them; itself when there are none.

    An integer of more than 64 bits is a float.
    """
    if value.__class__ is dict:
        out = None
        for name, item in value.items():
            new = whole_numbers(item) if isinstance(item, _CHANGING) else item
            if new is not item:
                out = out if out is not None else dict(value)
                out[name] = new
        return value if out is None else out
    if value.__class__ is list:
        items = [whole_numbers(item) if isinstance(item, _CHANGING) else item for item in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if isinstance(value, float):
        return int(value) if value.is_integer() and -_INT64 <= value < _INT64 else float(value)
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        return float(value)
    return value


_INT64 = 1 << 63
_CHANGING = (dict, list, float, int)
