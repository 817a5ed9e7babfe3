"""How the interpreter runs a long-lived process: when it collects garbage, how long a thread keeps it, and what of
freed memory goes back to the system."""

import asyncio
import ctypes
import gc
import ssl
import sys
from importlib import import_module

from wherry.util import clock

_THRESHOLDS = (5_000, 500, 100)
"""Nearly all objects go by reference counting; with the default thresholds every few requests look for cycles. Closed
TLS connections are such cycles, and each holds 60 kB that nobody counts: not too many may pile up."""

_SWITCH_INTERVAL = 0.0001
"""Seconds that a thread which has done its blocking work (a large body, a read of the past) waits for the event loop's
thread at most."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_ALLOCATION = {_M_MMAP_THRESHOLD: 5 << 16, _M_TRIM_THRESHOLD: 4 << 20, _M_ARENA_MAX: 2}
"""Left alone, glibc raises the first two to the largest block that was ever freed and twice that, here a list of all
pods, and then keeps as much free memory; each thread has a part of its own that is never given back. The first must be
above the 256 KiB that uvloop takes for each read of a TLS connection and frees at once: to map them would cost more
than the read."""

_GIVING_BACK = 60.0
_libc = ctypes.CDLL(None)  # musl has neither of the two functions, and no such habits


def prepare() -> None:
    """Call first: imports and the start make only objects that stay, so that looking for garbage is in vain."""
    gc.disable()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    if (tune := getattr(_libc, "mallopt", None)) is not None:
        for option, value in _ALLOCATION.items():
            tune(option, value)


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


async def give_back() -> None:
    """Give freed memory that lies between what is in use back to the system, every minute, until cancelled."""
    trim = getattr(_libc, "malloc_trim", None)
    while True:
        await clock.sleep(_GIVING_BACK)
        if trim is not None:
            await asyncio.to_thread(trim, 0)
