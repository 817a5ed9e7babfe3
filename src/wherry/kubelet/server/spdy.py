"""SPDY/3.1 framing and streams, as far as Kubernetes' streaming uses it (no flow control: its library has none)."""

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY, _HEADERS = 1, 2, 3, 6, 7, 8
_FIN = 1
_VERSION = 3
_MAX_DATA = 32 * 1024
_INVALID_STREAM = 2

_WORDS = (
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,accept-ranges,age,allow,"
    "authorization,cache-control,connection,content-base,content-encoding,content-language,content-length,"
    "content-location,content-md5,content-range,content-type,date,etag,expect,expires,from,host,if-match,"
    "if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,"
    "proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade,"
    "user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,public,set-cookie,"
    "keep-alive,origin"
)
_TAIL = (
    "10010120120220520630030230330430530630740240540640740840941041141241341441541641750250450520"
    "3 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(w)) + w.encode() for w in _WORDS.split(",")) + _TAIL.encode()
"""The dictionary for header compression of SPDY/3."""

Send = Callable[[bytes], Awaitable[None]]


class SpdyError(Exception):
    """The peer broke the protocol."""


class SpdyStream:
    """One stream. Header names are lower case."""

    def __init__(self, connection: "SpdyConnection", number: int, headers: dict[str, str]) -> None:
        self.number = number
        self.headers = headers
        self._connection = connection
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(256)
        self._ended = False
        self._closed = False

    async def read(self) -> bytes:
        """Return the next bytes, none at the end."""
        if self._ended and self._queue.empty():
            return b""
        return await self._queue.get()

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        for at in range(0, len(data), _MAX_DATA):
            await self._connection.send_data(self.number, data[at : at + _MAX_DATA])

    async def close_write(self) -> None:
        """Tell the peer that nothing more will come."""
        if not self._closed:
            self._closed = True
            await self._connection.send_data(self.number, b"", fin=True)

    async def reset(self) -> None:
        """End the stream both ways."""
        self._closed = True
        self.end()
        await self._connection.send_reset(self.number)

    async def deliver(self, data: bytes) -> None:
        """Take bytes of the peer; waits while the reader is far behind."""
        if data and not self._ended:
            await self._queue.put(data)

    def end(self) -> None:
        """The peer sends no more."""
        if not self._ended:
            self._ended = True
            if self._queue.empty():
                self._queue.put_nowait(b"")


class SpdyConnection:
    """The server's side of a connection. `send` writes bytes; ``feed`` takes those of the peer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = asyncio.Lock()
        self._buffer = b""
        self._streams: dict[int, SpdyStream] = {}
        self._new: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self.closed = asyncio.Event()

    async def accept(self) -> SpdyStream | None:
        """Return the next stream that the peer opens, None at the end of the connection."""
        return await self._new.get()

    async def feed(self, data: bytes) -> None:
        """Take bytes of the peer. Raises SpdyError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            length = second & 0xFFFFFF
            if len(self._buffer) < 8 + length:
                return
            payload, self._buffer = self._buffer[8 : 8 + length], self._buffer[8 + length :]
            flags = second >> 24
            if first & 0x80000000:
                if (first >> 16) & 0x7FFF != _VERSION:
                    raise SpdyError(f"SPDY version {(first >> 16) & 0x7FFF} is not supported")
                await self._control(first & 0xFFFF, flags, payload)
            elif (stream := self._streams.get(first)) is not None:
                await stream.deliver(payload)
                if flags & _FIN:
                    stream.end()

    def end(self) -> None:
        """The peer is gone."""
        for stream in self._streams.values():
            stream.end()
        self._new.put_nowait(None)
        self.closed.set()

    async def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _SYN_STREAM:
            await self._open(flags, payload)
        elif kind == _RST_STREAM:
            number = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
            if (stream := self._streams.pop(number, None)) is not None:
                stream.end()
        elif kind == _PING:
            await self._write(_control_frame(_PING, 0, payload))
        elif kind == _HEADERS:
            # Nobody reads them, but the compression's state must follow.
            self._headers(payload[4:])
        elif kind == _GOAWAY:
            self._new.put_nowait(None)

    async def _open(self, flags: int, payload: bytes) -> None:
        number = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
        headers = self._headers(payload[10:])
        if number in self._streams or number % 2 == 0:
            await self.send_reset(number)
            return
        stream = self._streams[number] = SpdyStream(self, number, headers)
        async with self._lock:
            block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            await self._send(_control_frame(_SYN_REPLY, 0, struct.pack(">I", number) + block))
        if flags & _FIN:
            stream.end()
        self._new.put_nowait(stream)

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            data = self._inflate.decompress(block)
            (count,) = struct.unpack_from(">I", data)
            at, result = 4, {}
            for _ in range(count):
                pair = []
                for _ in range(2):
                    (length,) = struct.unpack_from(">I", data, at)
                    pair.append(data[at + 4 : at + 4 + length].decode("latin-1"))
                    at += 4 + length
                result[pair[0].lower()] = pair[1].partition("\0")[0]
            return result
        except (zlib.error, struct.error) as error:
            raise SpdyError(f"headers cannot be read: {error}") from error

    async def send_data(self, number: int, data: bytes, *, fin: bool = False) -> None:
        """Send a data frame."""
        await self._write(struct.pack(">II", number, (_FIN << 24 if fin else 0) | len(data)) + data)

    async def send_reset(self, number: int) -> None:
        """Refuse or end a stream."""
        self._streams.pop(number, None)
        await self._write(_control_frame(_RST_STREAM, 0, struct.pack(">II", number, _INVALID_STREAM)))

    async def _write(self, data: bytes) -> None:
        async with self._lock:
            await self._send(data)


def _control_frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">II", 0x80000000 | _VERSION << 16 | kind, flags << 24 | len(payload)) + payload
