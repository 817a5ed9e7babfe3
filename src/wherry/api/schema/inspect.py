"""Finding what is wrong with an object, in Go's words: unknown fields and the first wrong type.

This runs only when the compiled builder gave up. Go's decoder goes on after a wrong type and reports the first; a
type with a decoder of its own (quantities, times) stops it.
"""

import base64
import re
from typing import Any, NamedTuple

from wherry.api.quantity import QuantityError, parse
from wherry.api.schema.decode import Literal, go_kind
from wherry.api.schema.times import normal_micro_time, normal_time
from wherry.api.schema.types import Type

_BASE64 = re.compile(r"[A-Za-z0-9+/]*", re.ASCII)


class Found(NamedTuple):
    """A copy without the unknown fields, their paths, and the message of the error."""

    pruned: Any
    unknown: list[str]
    error: str | None


class _Stop(Exception):
    """The decoder gives up."""


def inspect(root: Type, obj: Any) -> Found:
    """Walk `obj` in the order of its members; nothing is changed."""
    inspector = _Inspector()
    try:
        pruned = inspector.visit(root, obj, "", (), "")
    except _Stop as stop:
        return Found({}, inspector.unknown, str(stop))
    return Found(pruned, inspector.unknown, inspector.error)


class _Inspector:
    """`path` is the path of the value (``spec.containers[0]``), `stack` the field names down to it without indexes,
    `struct` the Go name of the innermost struct."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.error: str | None = None

    def visit(self, kind: Type, value: Any, path: str, stack: tuple[str, ...], struct: str) -> Any:
        if value is None:
            return None
        match kind.kind:
            case "struct":
                return self._struct(kind, value, path, stack, struct)
            case "map":
                return self._map(kind, value, path, stack, struct)
            case "list":
                return self._list(kind, value, path, stack, struct)
            case "one-of":
                return self._one_of(kind, value, path, stack, struct)
        return self._scalar(kind, value, stack, struct)

    def _struct(self, kind: Type, value: Any, path: str, stack: tuple[str, ...], struct: str) -> Any:
        if not isinstance(value, dict):
            return self._wrong(value, kind.go, stack, struct)
        out = {}
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            field = kind.fields.get(name)
            if field is not None:
                out[name] = self.visit(field.type, item, inner, (*stack, name), kind.name)
            elif kind.keep_unknown:
                out[name] = item
            else:
                self.unknown.append(inner)
        return out

    def _map(self, kind: Type, value: Any, path: str, stack: tuple[str, ...], struct: str) -> Any:
        assert kind.element is not None
        if not isinstance(value, dict):
            return self._wrong(value, kind.go, stack, struct)
        return {name: self.visit(kind.element, item, f"{path}.{name}", stack, struct) for name, item in value.items()}

    def _list(self, kind: Type, value: Any, path: str, stack: tuple[str, ...], struct: str) -> Any:
        assert kind.element is not None
        if not isinstance(value, list):
            return self._wrong(value, kind.go, stack, struct)
        return [self.visit(kind.element, item, f"{path}[{at}]", stack, struct) for at, item in enumerate(value)]

    def _one_of(self, kind: Type, value: Any, path: str, stack: tuple[str, ...], struct: str) -> Any:
        """Decode what Go decodes by a method of its own: strangers in it go unnoticed, errors start at it."""
        assert kind.element is not None
        if isinstance(value, bool) and "bool" in kind.alternatives:
            return value
        if isinstance(value, dict) or (isinstance(value, list) and "list" in kind.alternatives):
            inner = _Inspector()
            whole = isinstance(value, dict)
            found = [inner.visit(kind.element, item, "", (), "") for item in ([value] if whole else value)]
            if self.error is None:
                self.error = inner.error
            return found[0] if whole else found
        if isinstance(value, list) and "strings" in kind.alternatives and all(isinstance(item, str) for item in value):
            return value
        raise _Stop(
            "boolean or JSON schema expected" if "bool" in kind.alternatives else "string or JSON schema expected"
        )

    def _scalar(self, kind: Type, value: Any, stack: tuple[str, ...], struct: str) -> Any:
        match kind.kind:
            case "string":
                return value if isinstance(value, str) else self._wrong(value, kind.go, stack, struct)
            case "boolean":
                return value if isinstance(value, bool) else self._wrong(value, kind.go, stack, struct)
            case "integer":
                return self._integer(value, kind.bits, kind.go, stack, struct)
            case "number":
                good = isinstance(value, (int, float)) and not isinstance(value, bool)
                return _plain(value) if good else self._wrong(value, kind.go, stack, struct)
            case "bytes":
                return self._bytes(value, stack, struct)
            case "int-or-string":
                return self._int_or_string(value, stack, struct)
            case "quantity":
                return _quantity(value)
            case "time" | "micro-time":
                return self._time(kind, value, stack, struct)
        return _plain(value)

    def _integer(self, value: Any, bits: int, go: str, stack: tuple[str, ...], struct: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self._wrong(value, go, stack, struct)
        if isinstance(value, int) and -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            return value
        return self._wrong(value, go, stack, struct, number=True)

    def _int_or_string(self, value: Any, stack: tuple[str, ...], struct: str) -> Any:
        if isinstance(value, str):
            return value
        before = self.error
        self.error = None
        self._integer(value, 32, "int32", stack, struct)
        if self.error is not None:
            raise _Stop(self.error)
        self.error = before
        return value

    def _time(self, kind: Type, value: Any, stack: tuple[str, ...], struct: str) -> Any:
        if not isinstance(value, str):
            raise _Stop(_mismatch(value, "string", stack, struct))
        try:
            (normal_time if kind.kind == "time" else normal_micro_time)(value)
        except ValueError as error:
            raise _Stop(str(error)) from None
        return value

    def _bytes(self, value: Any, stack: tuple[str, ...], struct: str) -> Any:
        if not isinstance(value, str):
            return self._wrong(value, "[]uint8", stack, struct)
        position = bad_base64(value)
        if position is None:
            return value
        if self.error is None:
            self.error = f"illegal base64 data at input byte {position}"
        return None

    def _wrong(self, value: Any, go: str, stack: tuple[str, ...], struct: str, *, number: bool = False) -> None:
        if self.error is None:
            self.error = _mismatch(value, go, stack, struct, number=number)


def bad_base64(text: str) -> int | None:
    """Return the position of the first bad byte as Go's decoder counts, None when `text` is base64."""
    compact = [(at, char) for at, char in enumerate(text) if char not in "\r\n"]
    body = "".join(char for _, char in compact)
    good = _BASE64.match(body)
    length = good.end() if good else 0
    rest = body[length:]
    if rest.strip("=") == "" and len(body) % 4 == 0 and len(rest) <= 2:
        try:
            base64.b64decode(body, validate=True)
        except ValueError:
            return len(text)
        return None
    if length == len(body):
        return (length // 4) * 4 if length % 4 else None
    if rest[0] == "=" and length % 4 >= 2:
        needed = 4 - length % 4
        if len(rest) < needed:
            return len(text)
        extra = length + needed
        return compact[extra][0] if extra < len(compact) else len(text)
    return compact[length][0]


def _mismatch(value: Any, go: str, stack: tuple[str, ...], struct: str, *, number: bool = False) -> str:
    shown = f"number {_literal(value)}" if number else go_kind(value)
    if not struct:
        return f"json: cannot unmarshal {shown} into Go value of type {go}"
    return f"json: cannot unmarshal {shown} into Go struct field {struct}.{'.'.join(stack)} of type {go}"


def _literal(value: Any) -> str:
    if isinstance(value, Literal):
        return value.text
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Literal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _quantity(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _Stop("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    text = value.text if isinstance(value, Literal) else value
    try:
        parse(text)
    except QuantityError as error:
        raise _Stop(str(error)) from None
    return text
