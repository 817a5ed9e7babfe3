"""Logging of the processes: one line an event on standard error, in UTC, as klog writes it."""

import logging
import sys
import time

_LETTERS = {logging.DEBUG: "D", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}


class _KlogFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        stamp = self.formatTime(record, "%m%d %H:%M:%S") + f".{int(record.msecs * 1000):06d}"
        text = f"{_LETTERS.get(record.levelno, 'I')}{stamp} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def configure(*, verbose: bool = False) -> None:
    """Send the log of this process to standard error; `verbose` includes debug lines of Wherry's own modules."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_KlogFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("wherry").setLevel(logging.DEBUG if verbose else logging.INFO)
