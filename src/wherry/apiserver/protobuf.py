"""The protobuf form of Status (apimachinery ``generated.proto``): what a protobuf client gets for an error."""

from typing import Any

MAGIC = b"k8s\x00"


def _varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str | None) -> bytes:
    return _bytes(field, (value or "").encode())


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    """Return the envelope ``runtime.Unknown`` around an encoded object."""
    type_meta = _text(1, api_version) + _text(2, kind)
    return MAGIC + _bytes(1, type_meta) + _bytes(2, raw) + _text(3, "") + _text(4, "")


def encode_status(status: dict[str, Any]) -> bytes:
    """Return a Status in its envelope."""
    details = status.get("details") or {}
    encoded = _text(1, details.get("name")) + _text(2, details.get("group")) + _text(3, details.get("kind"))
    for cause in details.get("causes") or ():
        encoded += _bytes(
            4, _text(1, cause.get("reason")) + _text(2, cause.get("message")) + _text(3, cause.get("field"))
        )
    encoded += _number(5, details.get("retryAfterSeconds") or 0) + _text(6, details.get("uid"))
    metadata = status.get("metadata") or {}
    listing = _text(1, "") + _text(2, metadata.get("resourceVersion")) + _text(3, metadata.get("continue"))
    raw = (
        _bytes(1, listing)
        + _text(2, status.get("status"))
        + _text(3, status.get("message"))
        + _text(4, status.get("reason"))
    )
    raw += _bytes(5, encoded) if details else b""
    return envelope("v1", "Status", raw + _number(6, status.get("code") or 0))


def message(fields: list[tuple[int, Any]]) -> bytes:
    """Return a message of (field number, value): a string, or a list of the same for a message inside."""
    out = b""
    for number, value in fields:
        out += _text(number, value) if isinstance(value, str) else _bytes(number, message(value))
    return out
