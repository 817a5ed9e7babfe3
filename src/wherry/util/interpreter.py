"""How the interpreter runs a long-lived process: when it collects garbage, how long a thread keeps it."""

import gc
import ssl
import sys
from importlib import import_module

_THRESHOLDS = (5_000, 500, 100)
"""Nearly all objects go by reference counting; with the default thresholds every few requests look for cycles. Closed
TLS connections are such cycles, and each holds 60 kB that nobody counts: not too many may pile up."""

_SWITCH_INTERVAL = 0.0005
"""Seconds that a thread which has done its blocking work (a commit) waits for the event loop's thread at most."""


def prepare() -> None:
    """Call first: imports and the start make only objects that stay, so that looking for garbage is in vain."""
    gc.disable()
    sys.setswitchinterval(_SWITCH_INTERVAL)


def import_aiohttp() -> None:
    """Import aiohttp without the certificate authorities of the machine, which it reads while it is imported: 40 ms.

    Who connects to a server that one of them vouches for gives a TLS context of its own.
    """

    load = ssl.SSLContext.load_default_certs
    ssl.SSLContext.load_default_certs = lambda *_: None  # type: ignore[method-assign]
    try:
        import_module("aiohttp")
    finally:
        ssl.SSLContext.load_default_certs = load  # type: ignore[method-assign]


def settle() -> None:
    """Call when the process serves: what is there now stays, and later collections need not look at it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
