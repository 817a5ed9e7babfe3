"""Runs a process of a cluster: ``python -m wherry.cluster.run server|node ARGUMENT...``.

The interpreter is prepared before anything large is imported, which is most of a start.
"""

import sys
from importlib import import_module

from wherry.util import interpreter


def main() -> None:
    """Prepare the interpreter, then be the process that the first argument names."""
    interpreter.prepare()
    interpreter.import_aiohttp()
    import_module(f"wherry.cluster.{sys.argv.pop(1)}").main()


if __name__ == "__main__":
    main()
