"""Reading gzip, zstd and plain streams by what they begin with. Blocks; call it off the loop."""

import contextlib
import gzip
import io
import shutil
import subprocess
import threading
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from wherry.images.protocol import ImageError

GZIP, ZSTD, PLAIN = "gzip", "zstd", ""

_MAGIC = {b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD}
ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)
"""What a damaged stream raises."""


def kind(start: bytes) -> str:
    """Return how a stream that begins with `start` (4 bytes) is compressed."""
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), PLAIN)


@contextlib.contextmanager
def reading(raw: BinaryIO) -> Iterator[BinaryIO]:
    """Give the decompressed contents of `raw`, a seekable file at its beginning."""
    how = kind(raw.read(4))
    raw.seek(0)
    if how == GZIP:
        with gzip.GzipFile(fileobj=raw) as stream:
            yield io.BufferedReader(stream, 1 << 20)
    elif how == ZSTD:
        with _zstd(raw) as stream:
            yield stream
    else:
        yield raw


@contextlib.contextmanager
def _zstd(raw: BinaryIO) -> Iterator[BinaryIO]:
    """Decompress with the program: Python has it in its library from 3.14 on only."""
    program = shutil.which("zstd")
    if program is None:
        raise ImageError("the image is compressed with zstd, and the program zstd is not installed")
    process = subprocess.Popen([program, "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    sink = process.stdin

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), sink:
            shutil.copyfileobj(raw, sink, 1 << 20)

    feeder = threading.Thread(target=feed, name="zstd")
    feeder.start()
    complete = False
    try:
        yield process.stdout  # type: ignore[misc]
        complete = process.stdout.read(1) == b""
    finally:
        process.stdout.close()
        if not complete:
            process.kill()
        feeder.join()
        code = process.wait()
    if complete and code != 0:
        raise ImageError("damaged zstd stream")
