"""OpenAPI documents in the protobuf of gnostic: how a table of messages becomes an encoder.

A row of a table says for each member of a JSON object its field number and how its value is written: as text, whole
number, floating number or flag, as ``any`` (a value of any form, written as text), or as another message. ``*`` marks
repeated fields. Members that begin with ``x-`` go to the field named ``x-``; what the table does not know is left out.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import pack
from typing import Any

import orjson

from wherry.api.protobuf.wire import FIXED64, VARINT, delimited, tagged, varint

Json = dict[str, Any]
Write = Callable[[Any], bytes | None]
"""Returns the bytes of a message, None where there is nothing to write."""


class Format:
    """Encoders by the name of a message: those of the table, and `shapes`, which are written otherwise."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        self._messages = messages
        self._writers: dict[str, Write] = {}
        self.shapes: dict[str, Write] = {}

    def message(self, name: str) -> Write:
        """Return the encoder of one message."""
        found = self.shapes.get(name) or self._writers.get(name)
        if found is None:
            found = self._writers[name] = self._of_table(self._messages[name])
        return found

    def inside(self, kind: str, number: int = 1) -> Write:
        """Return the encoder of a message that only holds another one."""
        return lambda value: delimited(number, self.message(kind)(value) or b"")

    def by_name(self, number: int, kind: str) -> Write:
        """Return the encoder of a JSON object whose members have names of their own and are all of one kind."""

        def encode_members(members: Json) -> bytes:
            write = self.message(kind)
            return b"".join([delimited(number, named(name, write(item) or b"")) for name, item in members.items()])

        return encode_members

    def _of_table(self, text: str) -> Write:
        rows = [row.rsplit(":", 2) if not row.startswith("x-:") else ["x-", row[3:], ""] for row in text.split()]
        extension = next((int(number) for member, number, _ in rows if member == "x-"), 0)
        writers = {member: (int(number), kind) for member, number, kind in rows if member != "x-"}

        def encode_message(value: Json) -> bytes:
            parts = []
            for member, item in value.items():
                known = writers.get(member)
                if known is not None:
                    parts.append(self._field(known[0], known[1], item))
                elif member.startswith("x-") and extension:
                    parts.append(delimited(extension, named(member, _any(item))))
            return b"".join(parts)

        return encode_message

    def _field(self, number: int, kind: str, value: Any) -> bytes:
        if kind.endswith("*"):
            return b"".join([self._field(number, kind[:-1], item) for item in value])
        write = _SCALARS.get(kind)
        if write is not None:
            return write(number, value)
        encoded = self.message(kind)(value)
        return b"" if encoded is None else delimited(number, encoded)


@lru_cache(maxsize=4096)
def _text(number: int, value: str) -> bytes:
    """Most texts of a document occur again and again: names of parameters, media types, tags."""
    return delimited(number, value.encode())


def flag(number: int, value: bool) -> bytes:
    """Return a field that is true or false."""
    return tagged(number, VARINT) + (b"\x01" if value else b"\x00")


def double(number: int, value: float) -> bytes:
    """Return a field that is a floating number."""
    return tagged(number, FIXED64) + pack("<d", value)


_SCALARS: dict[str, Callable[[int, Any], bytes]] = {
    "text": lambda number, value: _text(number, value),
    "flag": flag,
    "int": lambda number, value: tagged(number, VARINT) + varint(value),
    "float": double,
    "any": lambda number, value: delimited(number, _any(value)),
}


def _any(value: Any) -> bytes:
    """A value of any form is YAML text; JSON is YAML."""
    return delimited(2, orjson.dumps(value))


def named(name: str, value: bytes) -> bytes:
    """Return a pair of a name and an encoded value."""
    return delimited(1, name.encode()) + delimited(2, value)


def scopes(value: Json) -> bytes:
    """Return a requirement of security: names with the scopes that each needs."""
    texts = {name: b"".join([delimited(1, scope.encode()) for scope in wanted]) for name, wanted in value.items()}
    return b"".join([delimited(1, named(name, encoded)) for name, encoded in texts.items()])
