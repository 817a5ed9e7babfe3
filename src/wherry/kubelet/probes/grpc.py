"""The gRPC health check (grpc.health.v1.Health/Check) over a connection of its own: one unary call of HTTP/2.

Only what one call needs of HTTP/2 is here (RFC 9113); header blocks are a library's. How a call fails is worded as
grpc-go does, whose errors the kubelet shows.
"""

import asyncio
import struct
from http.client import responses
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    import hpack

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 6, 7, 9
_END_STREAM, _END_HEADERS, _ACK, _PADDED, _PRIORITY = 1, 4, 1, 8, 0x20
_MOST_FRAME = 1 << 14
_MOST_BODY = _MOST_BLOCK = 1 << 16
_SERVING = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}

_CODES = (
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists"),
    *("PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented"),
    *("Internal", "Unavailable", "DataLoss", "Unauthenticated"),
)
_OF_HTTP = {400: "Internal", 401: "Unauthenticated", 403: "PermissionDenied", 404: "Unimplemented"} | dict.fromkeys(
    (429, 502, 503, 504), "Unavailable"
)
_RESETS = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED"),
    *("FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"),
    *("INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"),
)
_OF_RESET = {
    "REFUSED_STREAM": "Unavailable",
    "CANCEL": "Canceled",
    "FLOW_CONTROL_ERROR": "ResourceExhausted",
    "ENHANCE_YOUR_CALM": "ResourceExhausted",
    "INADEQUATE_SECURITY": "PermissionDenied",
}


class GrpcError(Exception):
    """The call failed: `code` is gRPC's word for why, `message` what goes with it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {message}")
        self.code = code
        self.message = message


def load() -> "hpack.Decoder":
    """Return a decoder of header blocks. Blocks: few nodes need the library, and it takes long to load."""
    from hpack import Decoder

    return Decoder()


class HealthClient:
    """Asks the server at one address, over a connection that serves for one question."""

    def __init__(self, address: str, port: int, decoder: "hpack.Decoder") -> None:
        self.connected = False
        self._decoder = decoder
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
            return _serving(await _Call(reader, writer, self._decoder).answer())
        except asyncio.IncompleteReadError as error:
            raise GrpcError("Unavailable", "error reading from server: EOF") from error
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


class _Call:
    """Reads the answer to the connection's only call, stream 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: "hpack.Decoder") -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder
        self._block = b""
        self._begun = False
        self._body = b""
        self._trailers: dict[str, str] = {}

    async def answer(self) -> bytes:
        """Return the body of an answer that ends well. Raises GrpcError, IncompleteReadError."""
        ended = complete = False
        while not (ended and complete):
            kind, flags, stream, payload = await self._frame()
            if kind in (_HEADERS, _CONTINUATION):
                # Of other streams too (none should come): all blocks share the decoder's state.
                self._block += _fragment(flags, payload) if kind == _HEADERS else payload
                if len(self._block) > _MOST_BLOCK:
                    raise GrpcError("Internal", "peer header list size exceeded limit")
                complete = bool(flags & _END_HEADERS)
                if complete:
                    self._headers(self._decoded())
            elif kind == _DATA and stream == 1:
                self._body += _unpadded(flags, payload)
                if len(self._body) > _MOST_BODY:
                    raise GrpcError("ResourceExhausted", f"received message larger than max ({_MOST_BODY})")
            elif kind in (_RST, _GOAWAY):
                _check_end(kind, stream, payload)
            elif not flags & _ACK and kind in (_SETTINGS, _PING):
                self._writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
            ended = ended or (stream == 1 and kind in (_DATA, _HEADERS) and bool(flags & _END_STREAM))
            if ended and kind == _DATA:
                raise GrpcError("Internal", "server closed the stream without sending trailers")
        self._judge()
        return self._body

    async def _frame(self) -> tuple[int, int, int, bytes]:
        head = await self._reader.readexactly(9)
        length = int.from_bytes(head[:3], "big")
        if length > _MOST_FRAME:
            raise GrpcError("Unavailable", "error reading from server: http2: frame too large")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        return kind, flags, stream & 0x7FFFFFFF, await self._reader.readexactly(length)

    def _decoded(self) -> dict[str, str]:
        from hpack import HPACKError

        block, self._block = self._block, b""
        try:
            return {str(name): str(value) for name, value in self._decoder.decode(block)}
        except HPACKError as error:
            raise GrpcError("Internal", f"malformed header block: {error}") from error

    def _headers(self, headers: dict[str, str]) -> None:
        """Take a header block: the answer's first, that of an answer without a body, or the trailers."""
        if headers.get(":status", "").startswith("1"):
            return
        if not self._begun:
            _check_http(headers)
        self._begun = True
        self._trailers = headers

    def _judge(self) -> None:
        number = self._trailers.get("grpc-status", "2")
        if number != "0":
            known = number.isdecimal() and int(number) < len(_CODES)
            code = _CODES[int(number)] if known else f"Code({number})"
            raise GrpcError(code, unquote(self._trailers.get("grpc-message", "")))


def _unpadded(flags: int, payload: bytes) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & _PADDED and payload else payload


def _fragment(flags: int, payload: bytes) -> bytes:
    return _unpadded(flags, payload)[5 if flags & _PRIORITY else 0 :]


def _check_end(kind: int, stream: int, payload: bytes) -> None:
    """Raise GrpcError when the server ends the call, or the connection before it has answered."""
    number = int.from_bytes(payload[-4:] if kind == _RST else payload[4:8], "big")
    reason = _RESETS[number] if number < len(_RESETS) else f"0x{number:x}"
    if kind == _RST and stream == 1:
        text = f"stream terminated by RST_STREAM with error code: {reason}"
        raise GrpcError(_OF_RESET.get(reason, "Internal"), text)
    # One that takes no new calls may still answer those that it has.
    if kind == _GOAWAY and (number or not int.from_bytes(payload[:4], "big") & 0x7FFFFFFF):
        raise GrpcError("Unavailable", f"closing transport due to: connection error: received GOAWAY: {reason}")


def _check_http(headers: dict[str, str]) -> None:
    """Raise GrpcError when what answers does not speak gRPC."""
    status, media_type = headers.get(":status", ""), headers.get("content-type")
    wrong = []
    if status != "200":
        number = int(status) if status.isdecimal() else 0
        wrong.append(f"unexpected HTTP status code received from server: {number} ({responses.get(number, '')})")
    if media_type is None:
        wrong.append("malformed header: missing HTTP content-type")
    elif media_type.partition(";")[0].partition("+")[0] != "application/grpc":
        wrong.append(f'transport: received unexpected content-type "{media_type}"')
    if wrong:
        raise GrpcError(_OF_HTTP.get(int(status) if status.isdecimal() else 0, "Unknown"), "; ".join(wrong))


def _serving(body: bytes) -> str:
    if len(body) < 5:
        text = "cardinality violation: received no response message from non-server-streaming RPC"
        raise GrpcError("Internal", text)
    if body[0]:
        raise GrpcError("Internal", "grpc: compressed flag set with identity or empty encoding")
    message = body[5 : 5 + struct.unpack(">I", body[1:5])[0]]
    # HealthCheckResponse has one field, the status; its default, UNKNOWN, is left out.
    if not message:
        return _SERVING[0]
    if message[0] != 0x08 or len(message) < 2:
        raise GrpcError("Internal", "grpc: failed to unmarshal the received message")
    return _SERVING.get(message[1], str(message[1]))
