"""ID tokens of the providers that an AuthenticationConfiguration names, as the file says now.

As with upstream, a file that was there at the start is read again when it changes, and its providers take the place of
those before. One that has become wrong changes nothing. Who may come without a token is settled at the start.
"""

import asyncio
import hashlib
import logging
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from wherry.apiserver.authn import oidcfile
from wherry.apiserver.authn.oidc import OIDCTokens
from wherry.apiserver.authn.token import Authenticated
from wherry.util import clock
from wherry.util.metrics import COUNTER, GAUGE, Family, Sample

log = logging.getLogger(__name__)

_LOOK = 5.0
_PREFIX = "apiserver_authentication_config_controller"

FAMILIES = {
    f"{_PREFIX}_automatic_reloads_total": Family(COUNTER, "Reloads of the authentication configuration by status."),
    f"{_PREFIX}_automatic_reload_last_timestamp_seconds": Family(
        GAUGE, "When the authentication configuration was last reloaded, by status."
    ),
    f"{_PREFIX}_last_config_info": Family(GAUGE, "The hash of the last authentication configuration, in a label."),
}


class FileTokens:
    """Authenticates the tokens of the providers of a file (`wherry.apiserver.authn.token.TokenAuthenticator`)."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises ConfigurationError, OSError. Blocks."""
        self._path = path
        self._text = path.read_text()
        self._refused = ""
        self.configuration = oidcfile.parse(self._text, path)
        self._providers = [OIDCTokens(provider) for provider in self.configuration.providers]
        self._reloads: Counter[str] = Counter()
        self._times: dict[str, float] = {}

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        """Return the user of a token of one of the providers, None of another's. Raises InvalidToken."""
        for provider in self._providers:
            found = await provider.authenticate_token(token, audiences)
            if found is not None:
                return found
        return None

    async def follow(self) -> None:
        """Look every few seconds whether the file has changed."""
        while True:
            await clock.sleep(_LOOK)
            await self.look()

    async def look(self) -> None:
        """Take the file's providers in place of those before, where it has changed and is right."""
        try:
            text = await asyncio.to_thread(self._path.read_text)
            if text in (self._text, self._refused):
                return
            self._refused = text
            found = await asyncio.to_thread(oidcfile.parse, text, self._path)
        except (OSError, ValueError) as error:  # a text that is none is a ValueError
            log.warning("the authentication configuration stays as it was: %s", error)
            self._note("failure")
            return
        self._providers = [OIDCTokens(provider) for provider in found.providers]
        self._text = text
        self._note("success")
        log.info("%s was read again", self._path)

    def _note(self, status: str) -> None:
        self._reloads[status] += 1
        self._times[status] = clock.seconds()

    def samples(self) -> Iterator[Sample]:
        """Yield what was reloaded."""
        server = {"apiserver_id_hash": _hash(socket.gethostname())}
        for status, number in self._reloads.items():
            labels = {**server, "status": status}
            yield Sample(f"{_PREFIX}_automatic_reloads_total", labels, number)
            yield Sample(f"{_PREFIX}_automatic_reload_last_timestamp_seconds", labels, self._times[status])
        yield Sample(f"{_PREFIX}_last_config_info", {**server, "hash": _hash(self._text)}, 1)


def _hash(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
