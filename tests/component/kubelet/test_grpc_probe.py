"""The gRPC probe against a server that speaks as much of HTTP/2 as the call needs."""

import asyncio
import struct
from collections.abc import Callable

import pytest

from wherry.kubelet.probes.check import Outcome, grpc_check

_TRAILERS = bytes.fromhex("88") + b"\x00\x0bgrpc-status\x010"


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def answer(status: int) -> bytes:
    message = bytes([8, status]) if status else b""
    body = b"\x00" + struct.pack(">I", len(message)) + message
    return (
        frame(4, 0, b"", 0)
        + frame(1, 4, b"\x88")
        + frame(6, 0, b"12345678", 0)
        + frame(0, 0, body)
        + frame(1, 5, _TRAILERS)
    )


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
    assert outcome.output == "error: health rpc probe failed: connection closed before the server answered"
