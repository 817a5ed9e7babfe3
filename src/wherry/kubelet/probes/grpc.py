"""The gRPC health check (grpc.health.v1.Health/Check) over a connection of its own: one unary call of HTTP/2.

Only what one call needs of HTTP/2 is here. The answer's header blocks are not decoded: the verdict is in the message,
and an answer without a message is an error whatever its status says.
"""

import asyncio
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK, _PADDED = 1, 4, 1, 8
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class GrpcError(Exception):
    """The server answered, but not with a health status."""


class HealthClient:
    """Asks the server at one address, over a connection for each question."""

    def __init__(self, address: str, port: int) -> None:
        self.connected = False
        self._address = address
        self._port = port

    async def ask(self, service: str) -> str:
        """Return the serving status of `service`: SERVING, NOT_SERVING, SERVICE_UNKNOWN, UNKNOWN.

        Cancelled, `connected` tells how far it came. Raises OSError, GrpcError.
        """
        reader, writer = await asyncio.open_connection(self._address, self._port)
        self.connected = True
        try:
            authority = f"{self._address}:{self._port}"
            writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _request(authority, service))
            return _decode(await _answer(reader, writer))
        except asyncio.IncompleteReadError as error:
            raise GrpcError("connection closed before the server answered") from error
        finally:
            writer.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _request(authority: str, service: str) -> bytes:
    headers = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", authority.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"user-agent", b"kube-probe/1.36"),
    )
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    body = b"\x00" + struct.pack(">I", len(message)) + message
    return _frame(_HEADERS, _END_HEADERS, 1, block) + _frame(_DATA, _END_STREAM, 1, body)


def _text(value: bytes) -> bytes:
    # HPACK: a literal string without Huffman coding; the length is an integer with a prefix of seven bits.
    if len(value) < 127:
        return bytes([len(value)]) + value
    return b"\x7f" + _varint(len(value) - 127) + value


def _varint(value: int) -> bytes:
    result = b""
    while value > 127:
        result += bytes([value & 127 | 128])
        value >>= 7
    return result + bytes([value])


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    body = b""
    while True:
        head = await reader.readexactly(9)
        length = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = await reader.readexactly(length)
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind in (_GOAWAY, _RST) and (kind == _GOAWAY or stream == 1):
            raise GrpcError("the server ended the stream")
        elif kind == _DATA and stream == 1:
            body += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
        if kind in (_DATA, _HEADERS) and stream == 1 and flags & _END_STREAM:
            return body


def _decode(body: bytes) -> str:
    if len(body) < 5:
        raise GrpcError("the server answered without a health status")
    message = body[5 : 5 + struct.unpack(">I", body[1:5])[0]]
    # HealthCheckResponse has one field, the status; its default, UNKNOWN, is left out.
    if not message:
        return _STATUS[0]
    if message[0] != 0x08 or len(message) < 2:
        raise GrpcError("the server's health status cannot be read")
    return _STATUS.get(message[1], str(message[1]))
