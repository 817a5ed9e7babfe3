"""SPDY framing against a client written from the same specification."""

import asyncio
import struct
import zlib

from wherry.kubelet.server.spdy import DICTIONARY, SpdyConnection


class Client:
    """The other side: builds frames, collects those that come."""

    def __init__(self) -> None:
        self.deflate = zlib.compressobj(zdict=DICTIONARY)
        self.sent = b""

    async def receive(self, data: bytes) -> None:
        self.sent += data

    def syn_stream(self, number: int, headers: dict[str, str], *, fin: bool = False) -> bytes:
        block = struct.pack(">I", len(headers))
        for pair in headers.items():
            for text in pair:
                block += struct.pack(">I", len(text)) + text.encode()
        packed = self.deflate.compress(block) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        payload = struct.pack(">IIH", number, 0, 0) + packed
        return struct.pack(">II", 0x80030001, (1 << 24 if fin else 0) | len(payload)) + payload

    @staticmethod
    def data(number: int, body: bytes, *, fin: bool = False) -> bytes:
        return struct.pack(">II", number, (1 << 24 if fin else 0) | len(body)) + body


def test_dictionary_is_that_of_spdy_3() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


async def test_streams_open_carry_data_and_half_close_in_any_split_of_bytes() -> None:
    client = Client()
    connection = SpdyConnection(client.receive)
    wire = (
        client.syn_stream(1, {"streamtype": "error"}, fin=True)
        + client.syn_stream(3, {"StreamType": "data", "port": "80"})
        + client.data(3, b"hello")
        + client.data(3, b"", fin=True)
    )
    for at in range(0, len(wire), 7):
        await connection.feed(wire[at : at + 7])
    error, data = await connection.accept(), await connection.accept()
    assert error is not None and data is not None
    assert error.headers == {"streamtype": "error"} and await error.read() == b""
    assert data.headers == {"streamtype": "data", "port": "80"}
    assert await data.read() == b"hello"
    assert await data.read() == b""
    client.sent = b""
    await data.write(b"x" * 40_000)
    await data.close_write()
    first, second = struct.unpack_from(">II", client.sent)
    assert (first, second) == (3, 32 * 1024)
    assert client.sent.endswith(struct.pack(">II", 3, 1 << 24))


async def test_ping_is_answered_and_end_reaches_the_readers() -> None:
    client = Client()
    connection = SpdyConnection(client.receive)
    ping = struct.pack(">III", 0x80030006, 4, 1)
    await connection.feed(ping + client.syn_stream(1, {"streamtype": "stdin"}))
    assert client.sent.startswith(ping)
    stream = await connection.accept()
    assert stream is not None
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(stream.read())
        connection.end()
    assert reading.result() == b""
    assert await connection.accept() is None
