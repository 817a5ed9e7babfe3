"""File descriptors as asyncio streams: pipes, terminals and the packets of conmon's attach socket, one mechanism.

Reading stops while nobody takes the bytes, so a fast writer waits instead of filling this process's memory.
"""

import asyncio
import errno
import os
from collections.abc import Callable

CHUNK = 1 << 16
Deliver = Callable[[bytes], None]


class _Flow(asyncio.ReadTransport):
    """What a StreamReader calls to slow its source."""

    def __init__(self, pump: "Pump") -> None:
        super().__init__()
        self._pump = pump

    def pause_reading(self) -> None:
        self._pump.pause(self)

    def resume_reading(self) -> None:
        self._pump.resume(self)

    def is_closing(self) -> bool:
        return self._pump.closed


class Pump:
    """Reads a descriptor whenever it is readable and hands each chunk to `deliver`; owns the descriptor.

    `ended` is set at the end of the file, or when the other side of a terminal hangs up.
    """

    def __init__(self, descriptor: int, deliver: Deliver, on_end: Callable[[], None]) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.closed = False
        self._deliver = deliver
        self._on_end = on_end
        self._paused: set[_Flow] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def reader(self) -> asyncio.StreamReader:
        """Return a reader that slows this pump while it is full."""
        reader = asyncio.StreamReader(limit=CHUNK)
        reader.set_transport(_Flow(self))
        return reader

    def pause(self, by: _Flow) -> None:
        if not self._paused and not self.closed:
            self._loop.remove_reader(self.descriptor)
        self._paused.add(by)

    def resume(self, by: _Flow) -> None:
        self._paused.discard(by)
        if not self._paused and not self.closed:
            self._loop.add_reader(self.descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ECONNRESET):  # EIO: the last process closed the terminal
                raise
            data = b""
        if data:
            self._deliver(data)
        else:
            self.close()

    def drain(self) -> None:
        """Deliver what is there now and end, without waiting for others that hold the other side."""
        while not self.closed:
            try:
                data = os.read(self.descriptor, CHUNK)
            except OSError:
                break
            if not data:
                break
            self._deliver(data)
        self.close()

    def close(self) -> None:
        """Close the descriptor and tell that no more comes."""
        if self.closed:
            return
        self.closed = True
        if not self._paused:
            self._loop.remove_reader(self.descriptor)
        os.close(self.descriptor)
        self._on_end()


def read_pipe(descriptor: int) -> tuple[asyncio.StreamReader, Pump]:
    """Return a stream of everything that comes from `descriptor`, which belongs to the stream now."""
    reader: asyncio.StreamReader

    def deliver(data: bytes) -> None:
        reader.feed_data(data)

    def end() -> None:
        reader.feed_eof()

    pump = Pump(descriptor, deliver, end)
    reader = pump.reader()
    return reader, pump


def resolve(future: asyncio.Future[None]) -> None:
    """Finish a future that nobody may be waiting for any more."""
    if not future.done():
        future.set_result(None)


async def write(descriptor: int, data: bytes) -> None:
    """Write all of `data` to a non-blocking descriptor. Raises BrokenPipeError (or another OSError)."""
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view[:CHUNK]) :]
        except BlockingIOError:
            writable: asyncio.Future[None] = loop.create_future()
            loop.add_writer(descriptor, resolve, writable)
            try:
                await writable
            finally:
                loop.remove_writer(descriptor)
