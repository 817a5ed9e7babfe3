"""Service account tokens for pods: asked for once, renewed before they end (TokenRequest API)."""

import asyncio
import logging
import random
from dataclasses import dataclass, replace

from wherry.api import errors, meta
from wherry.api.resources import SERVICEACCOUNTS
from wherry.client.client import Client
from wherry.util import clock

log = logging.getLogger(__name__)

_RENEW_AT = 0.8
_TRY_AGAIN = 30.0
_MAX_AGE = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class _Token:
    """`renew_at` and `ends` are seconds since the epoch."""

    value: str
    renew_at: float
    ends: float


class TokenManager:
    """Holds the tokens of all pods in memory."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tokens: dict[str, dict[tuple[str, int], _Token]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, pod: meta.Object, audience: str, seconds: int) -> str:
        """Return a token bound to the pod, a new one when the old is due for renewal. Raises StatusError, OSError.

        While a new one is not to be had (the server is away) the old one serves until it ends.
        """
        uid, key = meta.uid(pod), (audience, seconds)
        async with self._locks.setdefault(uid, asyncio.Lock()):
            tokens = self._tokens.setdefault(uid, {})
            found = tokens.get(key)
            if found is None or clock.seconds() >= found.renew_at:
                try:
                    found = tokens[key] = await self._request(pod, audience, seconds)
                except (errors.StatusError, OSError, TimeoutError) as error:
                    if found is None:
                        raise
                    log.warning("cannot renew a token of pod %s: %s", meta.key_of(pod), error)
                    tokens[key] = replace(found, renew_at=clock.seconds() + _TRY_AGAIN + random.uniform(0, 10))
                    if found.ends <= clock.seconds():
                        raise
            return found.value

    def renew(self) -> None:
        """Have every token renewed: the clock was set, so one may have ended, or not have begun, and not know it."""
        for uid, tokens in self._tokens.items():
            self._tokens[uid] = {key: replace(token, renew_at=0.0) for key, token in tokens.items()}

    def renewal(self, uid: str) -> float | None:
        """Return when the first token of a pod is due for renewal, in seconds since the epoch."""
        return min((token.renew_at for token in self._tokens.get(uid, {}).values()), default=None)

    def forget(self, uid: str) -> None:
        """Drop the tokens of a pod that is gone."""
        self._tokens.pop(uid, None)
        self._locks.pop(uid, None)

    async def _request(self, pod: meta.Object, audience: str, seconds: int) -> _Token:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": meta.name(pod),
                    "uid": meta.uid(pod),
                },
            },
        }
        answer = await self._client.create(
            SERVICEACCOUNTS,
            body,
            meta.namespace(pod),
            name=pod["spec"].get("serviceAccountName") or "default",
            subresource="token",
        )
        now = clock.seconds()
        ends = clock.parse(answer["status"]["expirationTimestamp"]).timestamp()
        # Spread over ten seconds, as kubelets do, so that the tokens of one rollout are not renewed at one instant.
        age = min((ends - now) * _RENEW_AT, _MAX_AGE) - random.uniform(0, 10)
        return _Token(answer["status"]["token"], now + max(age, 1.0), ends)
