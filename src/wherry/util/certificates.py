"""Certificates that are renewed while the process runs: a context presents what its files hold.

Handshakes take the certificate that a context has at that time, so loading the files again is enough: connections that
stand go on, new ones see the new certificate.
"""

import asyncio
import logging
import os
import ssl
from pathlib import Path
from weakref import WeakKeyDictionary

from wherry.util import clock

log = logging.getLogger(__name__)

_LOOK = 3600.0

_Files = tuple[str, str, int]
_chains: WeakKeyDictionary[ssl.SSLContext, _Files] = WeakKeyDictionary()


def load_chain(context: ssl.SSLContext, certificate: str | Path, key: str | Path | None = None) -> None:
    """Let a context present the certificate of two PEM files (None: one with both), and what is written there later.

    Raises OSError, ssl.SSLError. Blocks.
    """
    files = str(certificate), str(key or certificate), os.stat(certificate).st_mtime_ns
    context.load_cert_chain(files[0], files[1])
    _chains[context] = files


def load_renewed() -> list[str]:
    """Load what was written anew since; return those certificates. Blocks.

    The key has to be in its file before the certificate is. A pair that cannot be read stays as it was loaded.
    """
    renewed = set()
    for context, (certificate, key, loaded) in list(_chains.items()):
        try:
            written = os.stat(certificate).st_mtime_ns
            if written != loaded:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)  # tells whether they match
                context.load_cert_chain(certificate, key)
                _chains[context] = certificate, key, written
                renewed.add(certificate)
        except OSError as error:  # ssl.SSLError is one
            log.warning("cannot load %s again: %s", certificate, error)
    return sorted(renewed)


async def follow() -> None:
    """Load renewed certificates every hour."""
    while True:
        await clock.sleep(_LOOK)
        for certificate in await asyncio.to_thread(load_renewed):
            log.info("%s was renewed", certificate)
