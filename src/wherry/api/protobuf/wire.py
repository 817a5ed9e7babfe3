"""The wire format: varints, tags and length-delimited fields."""

import struct
from collections.abc import Iterator
from typing import Any

MAGIC = b"k8s\x00"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_U64 = (1 << 64) - 1


class WireError(ValueError):
    """The bytes are not protobuf."""


def varint(number: int) -> bytes:
    """Encode a number; a negative one as its 64-bit two's complement."""
    number &= _U64
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def tagged(number: int, kind: int) -> bytes:
    """Encode the tag of a field."""
    return varint(number << 3 | kind)


def delimited(number: int, data: bytes) -> bytes:
    """Encode a length-delimited field."""
    return tagged(number, BYTES) + varint(len(data)) + data


def message(fields: list[tuple[int, Any]]) -> bytes:
    """Encode (field number, value) pairs: a value is a string, or a list of pairs for a message inside."""
    return b"".join(
        delimited(number, value.encode() if isinstance(value, str) else message(value)) for number, value in fields
    )


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """Return an unsigned number and the position after it. Raises WireError."""
    result = shift = 0
    while True:
        try:
            byte = data[position]
        except IndexError:
            raise WireError("unexpected EOF") from None
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & _U64, position
        shift += 7
        if shift > 63:
            raise WireError("integer overflow")


def signed(number: int) -> int:
    """Read an unsigned 64-bit number as two's complement."""
    return number - (1 << 64) if number >> 63 else number


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (field number, wire type, value) of a message: an int, or a view of the bytes. Raises WireError."""
    position, end = 0, len(data)
    while position < end:
        tag, position = read_varint(data, position)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise WireError("illegal tag 0")
        if kind == VARINT:
            value, position = read_varint(data, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, position = read_varint(data, position)
        elif kind == FIXED64:
            length = 8
        elif kind == FIXED32:
            length = 4
        else:
            raise WireError(f"illegal wireType {kind}")
        if length > end - position:
            raise WireError("unexpected EOF")
        yield number, kind, data[position : position + length]
        position += length


def double(data: memoryview) -> float:
    """Read a little-endian double."""
    return float(struct.unpack("<d", data)[0])
