"""The gRPC probe against a server that speaks as much of HTTP/2 as the call needs."""

import asyncio
import struct
from collections.abc import Callable

import pytest
from hpack import Encoder

from wherry.kubelet.probes.check import Outcome, grpc_check

_BEGIN = ((":status", "200"), ("content-type", "application/grpc"))
_FAILED = "error: health rpc probe failed: rpc error: code = "


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def message(status: int) -> bytes:
    content = bytes([8, status]) if status else b""
    return frame(0, 0, b"\x00" + struct.pack(">I", len(content)) + content)


def answer(status: int, *trailers: tuple[str, str]) -> bytes:
    encoder = Encoder()  # literal, indexed and Huffman-coded as it likes
    return (
        frame(4, 0, b"", 0)
        + frame(1, 4, encoder.encode(_BEGIN))
        + frame(6, 0, b"12345678", 0)
        + message(status)
        + frame(1, 5, encoder.encode(trailers or [("grpc-status", "0")]))
    )


def alone(*headers: tuple[str, str]) -> bytes:
    """An answer that is nothing but headers, cut into two frames, the first padded and with a priority."""
    block = Encoder().encode(headers)
    return frame(1, 1 | 8 | 32, b"\x03" + bytes(5) + block[:4] + bytes(3)) + frame(9, 4, block[4:])


async def _ask(reply: Callable[[bytes], bytes | None], **action: str) -> Outcome:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = b""
        while b"\x00\x01\x00\x00\x00\x01\x00" not in request:  # the data frame that ends the stream
            if not (part := await reader.read(65536)):
                break
            request += part
        if (sent := reply(request)) is not None:
            writer.write(sent)
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await grpc_check({"port": port, **action}, "127.0.0.1", 0.3)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (1, Outcome(True, "service healthy")),
        (2, Outcome(False, 'service unhealthy (responded with "NOT_SERVING")')),
        (0, Outcome(False, 'service unhealthy (responded with "UNKNOWN")')),
    ],
)
def test_the_verdict_is_the_serving_status(status: int, wanted: Outcome) -> None:
    assert asyncio.run(_ask(lambda request: answer(status))) == wanted


def test_the_service_is_named_in_the_request() -> None:
    seen: list[bytes] = []

    def reply(request: bytes) -> bytes:
        seen.append(request)
        return answer(1)

    asyncio.run(_ask(reply, service="boat"))
    assert seen[0].endswith(b"\x00\x00\x00\x00\x06\x0a\x04boat")


def test_a_server_that_does_not_answer_in_time_fails_the_probe() -> None:
    outcome = asyncio.run(_ask(lambda request: None))
    assert outcome == Outcome(False, "timeout: health rpc did not complete within 0.3s")


def test_a_server_that_speaks_something_else_fails_the_probe() -> None:
    outcome = asyncio.run(_ask(lambda request: b""))
    assert outcome.output == f"{_FAILED}Unavailable desc = error reading from server: EOF"


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        (alone(*_BEGIN, ("grpc-status", "5"), ("grpc-message", "unknown service")), "NotFound desc = unknown service"),
        (answer(1, ("grpc-status", "13"), ("grpc-message", "a%20b%C3%A9")), "Internal desc = a bé"),
        (answer(1, ("grpc-message", "no status")), "Unknown desc = no status"),
        (alone(*_BEGIN, ("grpc-status", "99")), "Code(99) desc = "),
        (
            alone(*_BEGIN, ("grpc-status", "0")),
            "Internal desc = cardinality violation: received no response message from non-server-streaming RPC",
        ),
        (
            alone((":status", "503"), ("content-type", "text/html")),
            "Unavailable desc = unexpected HTTP status code received from server: 503 (Service Unavailable); "
            'transport: received unexpected content-type "text/html"',
        ),
        (
            frame(3, 0, struct.pack(">I", 7)),
            "Unavailable desc = stream terminated by RST_STREAM with error code: REFUSED_STREAM",
        ),
        (
            frame(1, 4, Encoder().encode(_BEGIN)) + frame(0, 1, b"\x00\x00\x00\x00\x02\x08\x01"),
            "Internal desc = server closed the stream without sending trailers",
        ),
    ],
)
def test_a_call_that_fails_is_told_by_its_status(reply: bytes, wanted: str) -> None:
    assert asyncio.run(_ask(lambda request: reply)).output == _FAILED + wanted


def test_a_server_without_the_health_service_is_said_to_lack_it() -> None:
    outcome = asyncio.run(
        _ask(lambda request: alone(*_BEGIN, ("grpc-status", "12"), ("grpc-message", "unknown method")))
    )
    text = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
    assert outcome == Outcome(False, f"{text}: unknown method")


def test_a_server_that_takes_no_more_calls_still_answers_this_one() -> None:
    going = frame(7, 0, struct.pack(">II", 1, 0), 0)
    assert asyncio.run(_ask(lambda request: going + answer(1))).success
