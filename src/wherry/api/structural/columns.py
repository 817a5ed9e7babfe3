"""Columns and cells of ``kubectl get`` for custom resources (apiextensions ``customresource/tableconvertor``)."""

import json
from collections.abc import Callable
from typing import Any

from wherry.api.cel.values import show_double
from wherry.api.jsonpath import JSONPathError, Reader, compile_path
from wherry.api.meta import Object
from wherry.api.printers.text import age
from wherry.api.schema.times import normal_time

Column = dict[str, Any]

_NAME: Column = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "",
    "priority": 0,
}
_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
"""What Go's encoder does not let stand in JSON."""
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


class Columns:
    """The columns of one version, from its ``additionalPrinterColumns``; without any there is Age.

    They end before the first whose path cannot be read.
    """

    def __init__(self, given: list[Column]) -> None:
        self.definitions = [_NAME]
        self._cells: list[Callable[[Object], Any]] = []
        for column in given or [_AGE]:
            try:
                read = compile_path(column.get("jsonPath") or "")
            except JSONPathError:
                break
            self.definitions.append(_definition(column))
            self._cells.append(_cell(column, read))

    def cells(self, obj: Object) -> list[Any]:
        """Return the cells of an object."""
        return [obj["metadata"].get("name", ""), *(cell(obj) for cell in self._cells)]


def _definition(column: Column) -> Column:
    return {
        "name": column["name"],
        "type": column["type"],
        "format": column.get("format", ""),
        "description": column.get("description", ""),
        "priority": column.get("priority", 0),
    }


def _cell(column: Column, read: Reader) -> Callable[[Object], Any]:
    convert = _CONVERT.get(column["type"], _other)

    def cell(obj: Object) -> Any:
        found = read(obj)
        return convert(found[0]) if found else None

    return cell


def _text(value: Any) -> str | None:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return show_double(value)
    if isinstance(value, (dict, list)):
        text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        return text.translate(_ESCAPED)
    return str(value)


def _integer(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if -_INT64 <= value < _INT64 else -_INT64  # as a conversion that overflows ends in Go


_INT64 = 1 << 63


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(float(value)) if isinstance(value, int) else value


def _boolean(value: Any) -> Any:
    return value if isinstance(value, bool) else None


def _date(value: Any) -> Any:
    if not isinstance(value, str):
        return None
    if value in ("", "null"):
        return "<unknown>"
    try:
        moment = normal_time(value)
    except ValueError:
        return "<invalid>"
    return age({"metadata": {"creationTimestamp": moment}})


def _other(value: Any) -> Any:
    return None


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
}
