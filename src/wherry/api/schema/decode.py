"""From the bytes of a body to plain values: JSON and YAML as the API server's decoders read them."""

import json
import re
from typing import Any

import orjson
import yaml

from wherry.api import gojson
from wherry.api.meta import Object
from wherry.api.schema import yaml as yaml_body

_EXPONENT = re.compile(rb"[0-9.][eE][-+]?[0-9]")
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')


class DecodeError(ValueError):
    """The body is not JSON or YAML, or not an object."""


class TooDeep(DecodeError):
    """The values of the body are nested deeper than can be written again."""


_TYPE_META = r"""struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"""


class Literal(float):
    """A number of JSON whose spelling matters: Go refuses ``1e2`` for an integer and says so."""

    text: str

    def __new__(cls, text: str) -> "Literal":
        number = super().__new__(cls, text)
        number.text = text
        return number


def decode_body(raw: bytes, content_type: str = "application/json") -> tuple[Object, list[str]]:
    """Return the object of a body and what a strict decoder says of its double members (``duplicate field "data.x"``).

    The last of equal members wins. Raises DecodeError, whose message goes behind "the object provided is unrecognized".
    """
    if "yaml" in content_type:
        value, problems = _yaml(raw)
    else:
        try:
            value, problems = _json(raw)
        except ValueError as error:
            text = str(error) if isinstance(error, TooDeep) else syntax_error(raw)
            raise DecodeError(f"couldn't get version/kind; json parse error: {text}") from None
    if value is None:
        return {}, problems  # to Go null is an object that says nothing
    if not isinstance(value, dict):
        text = f"json: cannot unmarshal {go_kind(value)} into Go value of type {_TYPE_META}"
        raise DecodeError(f"couldn't get version/kind; json parse error: {text}")
    return value, problems


def decode_apply(raw: bytes) -> tuple[Object, list[str]]:
    """Return the object of an apply configuration and its double members. Raises DecodeError in Go's words."""
    value, problems = _yaml(raw)
    if value is not None and not isinstance(value, dict):
        text = f"json: cannot unmarshal {go_kind(value)} into Go value of type map[string]interface {{}}"
        raise DecodeError(f"error unmarshaling JSON: while decoding JSON: {text}")
    return value or {}, problems


def decode_patch(raw: bytes) -> tuple[Any, list[str]]:
    """Return the JSON of a patch, of any type, and its double members. Raises DecodeError in Go's words."""
    try:
        return _json(raw)
    except TooDeep:
        raise
    except ValueError:
        raise DecodeError(syntax_error(raw)) from None


def syntax_error(raw: bytes) -> str:
    """Return Go's message for what is wrong with the JSON text."""
    return gojson.syntax_error(raw) or "invalid JSON document"


def go_kind(value: Any) -> str:
    """Return how Go's decoder calls the type of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else "number"


def _json(raw: bytes) -> tuple[Any, list[str]]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        text = raw.decode("utf-8", "replace").encode("utf-8")
        if text == raw:
            raise
        raw = text
        value = orjson.loads(raw)
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise TooDeep("exceeded max depth") from None
    # What is written as orjson writes it, as most clients do, has no double members and no strange numbers.
    if written == raw.rstrip():
        return value, []
    if _EXPONENT.search(raw):
        return _slow_json(raw)
    if b'\\"' in raw or _SPACED_COLON.search(raw) or raw.count(b'":') != _count(value):
        return _slow_json(raw)
    return value, []


def _count(value: Any) -> int:
    """Count the members of all objects in `value`."""
    if value.__class__ is dict:
        total = len(value)
        for item in value.values():
            if item.__class__ is dict or item.__class__ is list:
                total += _count(item)
        return total
    total = 0
    if value.__class__ is list:
        for item in value:
            if item.__class__ is dict or item.__class__ is list:
                total += _count(item)
    return total


def in_order(raw: bytes, problems: list[str]) -> list[str]:
    """Return what a strict decoder says of a body in JSON in the order in which it meets it.

    `problems` are of unknown and double members; of a double member that is unknown Go says the first when it meets it
    for the first time.
    """
    met: dict[str, None] = {}
    _meet(json.loads(raw, object_pairs_hook=_Pairs), "", met)
    places = {text: at for at, text in enumerate(met)}
    return sorted(problems, key=lambda text: places.get(text, len(places)))


def _meet(value: Any, path: str, met: dict[str, None]) -> None:
    if isinstance(value, _Pairs):
        seen = set()
        for name, item in value:
            inner = f"{path}.{name}" if path else name
            met[f'duplicate field "{inner}"' if name in seen else f'unknown field "{inner}"'] = None
            seen.add(name)
            _meet(item, inner, met)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _meet(item, f"{path}[{index}]", met)


class _Pairs(list[tuple[str, Any]]):
    """The members of one object, double ones included."""


def _slow_json(raw: bytes) -> tuple[Any, list[str]]:
    """Read JSON once more, finding double members and keeping the spelling of numbers with an exponent."""
    parsed = json.loads(raw, object_pairs_hook=_Pairs, parse_float=_number, parse_int=_integer)
    problems: dict[str, None] = {}
    return _merge(parsed, "", problems), list(problems)


def _number(text: str) -> float:
    return Literal(text) if "e" in text or "E" in text else float(text)


def _integer(text: str) -> int | float:
    """Read an integer; one of more than 64 bits is a float, as orjson has it."""
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 64 else float(text)


def _merge(value: Any, path: str, problems: dict[str, None]) -> Any:
    if isinstance(value, _Pairs):
        out: Object = {}
        for name, item in value:
            inner = f"{path}.{name}" if path else name
            if name in out:
                problems[f'duplicate field "{inner}"'] = None
            out[name] = _merge(item, inner, problems)
        return out
    if isinstance(value, list):
        return [_merge(item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    return value


def _yaml(raw: bytes) -> tuple[Any, list[str]]:
    try:
        value, problems = yaml_body.load(raw)
    except (yaml.YAMLError, ValueError) as error:
        raise DecodeError(f"yaml: {yaml_body.wording(error)}") from None
    return value, ["yaml: unmarshal errors:\n" + "\n".join(problems)] if problems else []
