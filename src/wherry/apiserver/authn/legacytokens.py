"""The use of tokens in Secrets is written down: the label ``kubernetes.io/legacy-token-last-used`` (KEP-2799)."""

import logging
from types import TracebackType

from wherry.api import meta
from wherry.api.errors import StatusError
from wherry.api.resources import SECRETS
from wherry.client.client import Client
from wherry.util import clock
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_MOST = 10_000


class LegacyTokenUse:
    """Labels the Secret of a token with the day of its last use. ``async with`` it while tokens are used."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scope = Scope()
        self._noted: dict[str, str] = {}

    async def __aenter__(self) -> "LegacyTokenUse":
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._scope.__aexit__(kind, error, traceback)

    def note(self, namespace: str, name: str) -> None:
        """Hear that the token of a Secret was used just now."""
        key, day = meta.make_key(namespace, name), clock.timestamp()[:10]
        if self._noted.get(key) == day:
            return
        if len(self._noted) >= _MOST:
            self._noted.clear()
        self._noted[key] = day
        self._scope.spawn(self._label(namespace, name, day), name=f"use of {key}", guard=True)

    async def _label(self, namespace: str, name: str, day: str) -> None:
        try:
            await self._client.patch(SECRETS, name, {"metadata": {"labels": {LAST_USED: day}}}, namespace)
        except StatusError as error:
            log.debug("the use of %s/%s is not written down: %s", namespace, name, error)
            self._noted.pop(meta.make_key(namespace, name), None)
