"""Reading gzip, zstd and plain streams by what they begin with. Blocks; call it off the loop."""

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from typing import BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP, ZSTD, PLAIN = "gzip", "zstd", ""

_BUFFER = 1 << 20
_MAGIC = {b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD}
ERRORS = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError)
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
            yield io.BufferedReader(stream, _BUFFER)
    elif how == ZSTD:
        with zstd.ZstdFile(raw) as stream:
            yield io.BufferedReader(stream, _BUFFER)
    else:
        yield raw
