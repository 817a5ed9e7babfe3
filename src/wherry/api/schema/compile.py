"""Compiling types to functions: decoding an object as Go would, and its zero value.

A builder takes a value of the wire and returns the new value; it raises
`Anomaly` at the first unknown field or wrong type, and ``inspect`` then finds out which.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

from wherry.api.quantity import canonical
from wherry.api.schema.times import normal_micro_time, normal_time
from wherry.api.schema.types import Anomaly, Field, Type

Builder = Callable[[Any], Any]

_TEXT: Final = object()  # marks the commonest member, a plain string that is shown unless empty; handled in the loop


def builder(root: Type) -> Builder:
    """Return the builder of a type; of a struct it returns a new dict."""
    return _Compiler().build(root)


def zero_maker(root: Type) -> Callable[[], Any]:
    """Return a function that makes the zero value of a type."""
    return _Compiler().zero(root)


class _Compiler:
    """Builders and zero makers by type; recursive types find theirs through the tables."""

    def __init__(self) -> None:
        self._builders: dict[int, Builder] = {}
        self._zeros: dict[int, Callable[[], Any]] = {}

    def build(self, kind: Type) -> Builder:
        found = self._builders.get(id(kind))
        if found is None:
            key = id(kind)
            self._builders[key] = lambda value: self._builders[key](value)
            found = self._builders[key] = self._make(kind)
        return found

    def _make(self, kind: Type) -> Builder:
        match kind.kind:
            case "struct":
                return self._struct(kind)
            case "list":
                return self._list(kind)
            case "map":
                return self._map(kind)
            case "integer":
                return _integer(kind.bits)
            case "one-of":
                return self._one_of(kind)
        return _SCALARS[kind.kind]

    def zero(self, kind: Type) -> Callable[[], Any]:
        found = self._zeros.get(id(kind))
        if found is None:
            key = id(kind)
            self._zeros[key] = lambda: self._zeros[key]()
            found = self._zeros[key] = self._make_zero(kind)
        return found

    def _make_zero(self, kind: Type) -> Callable[[], Any]:
        if kind.kind == "struct":
            always = self._always(kind)
            if not always:
                return dict
            return lambda: {name: make() for name, make in always}
        value = _ZEROS.get(kind.kind)
        return lambda: value

    def _always(self, kind: Type) -> tuple[tuple[str, Callable[[], Any]], ...]:
        return tuple(
            (field.name, self.zero(field.type) if field.emit == "zero" else _none)
            for field in kind.fields.values()
            if field.emit in ("zero", "null")
        )

    def _struct(self, kind: Type) -> Builder:
        members: dict[str, Any] = {field.name: self._member(field) for field in kind.fields.values()}
        find = members.get
        always = self._always(kind)
        keep_unknown = kind.keep_unknown

        def build(value: Any) -> Any:
            if value.__class__ is not dict:
                raise Anomaly
            out = {}
            for name, item in value.items():
                member = find(name)
                if member is _TEXT:
                    if item.__class__ is str:
                        if item:
                            out[name] = item
                    elif item is not None:
                        raise Anomaly
                elif member is None:
                    if not keep_unknown:
                        raise Anomaly
                    out[name] = item
                elif item is not None:
                    build_member, shows_empty = member
                    built = build_member(item)
                    if built or shows_empty:
                        out[name] = built
            for name, make in always:
                if name not in out:
                    out[name] = make()
            return out

        return build

    def _member(self, field: Field) -> Any:
        kind = field.type
        if kind.kind == "string" and field.emit == "omit":
            return _TEXT
        return self.build(kind), kind.kind not in ("list", "map", "bytes") and field.emit != "omit"

    def _list(self, kind: Type) -> Builder:
        assert kind.element is not None
        if kind.element.kind == "string":
            return _texts
        build, zero = self.build(kind.element), self.zero(kind.element)

        def build_list(value: Any) -> Any:
            if value.__class__ is not list:
                raise Anomaly
            return [build(item) if item is not None else zero() for item in value]

        return build_list

    def _map(self, kind: Type) -> Builder:
        assert kind.element is not None
        if kind.element.kind == "string":
            return _text_map
        build, zero = self.build(kind.element), self.zero(kind.element)

        def build_map(value: Any) -> Any:
            if value.__class__ is not dict:
                raise Anomaly
            return {name: build(item) if item is not None else zero() for name, item in value.items()}

        return build_map

    def _one_of(self, kind: Type) -> Builder:
        assert kind.element is not None
        build = self.build(kind.element)
        alternatives = kind.alternatives

        def build_one(value: Any) -> Any:
            if value.__class__ is dict:
                return build(value)
            if value.__class__ is bool and "bool" in alternatives:
                return value
            if value.__class__ is list and "list" in alternatives:
                return [build(item) for item in value]
            if value.__class__ is list and "strings" in alternatives:
                return _texts(value)
            raise Anomaly

        return build_one


def _none() -> None:
    return None


def _texts(value: Any) -> Any:
    if value.__class__ is not list:
        raise Anomaly
    for item in value:
        if item.__class__ is not str:
            if item is not None:
                raise Anomaly
            return [_text(one) if one is not None else "" for one in value]
    return value[:]


def _text_map(value: Any) -> Any:
    if value.__class__ is not dict:
        raise Anomaly
    for item in value.values():
        if item.__class__ is not str:
            if item is not None:
                raise Anomaly
            return {name: _text(one) if one is not None else "" for name, one in value.items()}
    return value.copy()


def _text(value: Any) -> Any:
    if value.__class__ is not str:
        raise Anomaly
    return value


def _boolean(value: Any) -> Any:
    if value.__class__ is not bool:
        raise Anomaly
    return value


def _number(value: Any) -> Any:
    if value.__class__ is not float and value.__class__ is not int:
        raise Anomaly
    return value


def _integer(bits: int) -> Builder:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def build(value: Any) -> Any:
        if value.__class__ is not int or not low <= value <= high:
            raise Anomaly
        return value

    return build


def _int_or_string(value: Any) -> Any:
    if value.__class__ is str or (value.__class__ is int and -(1 << 31) <= value < 1 << 31):
        return value
    raise Anomaly


def _quantity(value: Any) -> Any:
    if value.__class__ is str or value.__class__ is int or value.__class__ is float:
        try:
            return canonical(value)
        except ValueError:
            raise Anomaly from None
    raise Anomaly


def _time(value: Any) -> Any:
    try:
        return normal_time(value) if value.__class__ is str else _anomaly()
    except ValueError:
        raise Anomaly from None


def _micro_time(value: Any) -> Any:
    try:
        return normal_micro_time(value) if value.__class__ is str else _anomaly()
    except ValueError:
        raise Anomaly from None


def _anomaly() -> Any:
    raise Anomaly


def _bytes(value: Any) -> Any:
    if value.__class__ is not str:
        raise Anomaly
    try:
        raw = base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        raise Anomaly from None
    return base64.b64encode(raw).decode()


def _any(value: Any) -> Any:
    return value


_SCALARS: dict[str, Builder] = {
    "string": _text,
    "bytes": _bytes,
    "boolean": _boolean,
    "number": _number,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
    "time": _time,
    "micro-time": _micro_time,
    "any": _any,
}
_ZEROS: dict[str, Any] = {
    "string": "",
    "bytes": "",
    "boolean": False,
    "integer": 0,
    "number": 0,
    "quantity": "0",
    "int-or-string": 0,
}
