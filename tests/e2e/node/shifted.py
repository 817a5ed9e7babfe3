"""Runs a process of a cluster with a clock that is off by the seconds in a file (eight bytes, a double).

usage: python -m tests.e2e.node.shifted FILE server|node --name NAME

The machine's clock is nobody's to set; this sets the one that the process reads.
"""

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

from wherry.util import clock


def main() -> None:
    """Run the process."""
    path, *arguments = sys.argv[1:]
    with Path(path).open("r+b") as file:
        shift = mmap.mmap(file.fileno(), 8)
    clock.set_source(lambda: time.time() + struct.unpack("d", shift[:8])[0])
    sys.argv = ["wherry", *arguments]
    runpy.run_module("wherry.cluster.run", run_name="__main__")


if __name__ == "__main__":
    main()
